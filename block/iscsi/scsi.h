// SCSI as we speak it to disks: commands as their bytes, answers as numbers (SPC-4, SBC-3). Pure.
//
// Whatever a device answers is foreign: parsers take what is there, check it, and say no otherwise.
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gemel::block {

struct ScsiCommand {
  enum class Data : std::uint8_t { kNone, kIn, kOut };
  std::array<std::uint8_t, 16> cdb{};
  std::uint8_t cdb_bytes = 0;
  Data data = Data::kNone;
  std::uint32_t bytes = 0;          // of data
  std::span<const iovec> iov = {};  // `bytes` together; valid until the command has ended
};

enum class ScsiStatus : std::uint8_t {  // SAM-5, 5.3.1
  kGood = 0x00,
  kCheckCondition = 0x02,
  kBusy = 0x08,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
  kTaskAborted = 0x40,
};

enum class SenseKey : std::uint8_t {  // SPC-4, 4.5.6
  kNone = 0x0,
  kRecovered = 0x1,
  kNotReady = 0x2,
  kMedium = 0x3,
  kHardware = 0x4,
  kIllegalRequest = 0x5,
  kUnitAttention = 0x6,
  kDataProtect = 0x7,
  kAbortedCommand = 0xb,
};

struct ScsiOutcome {
  bool lost = false;  // no answer: whether it was done is unknown
  ScsiStatus status = ScsiStatus::kGood;
  SenseKey key = SenseKey::kNone;  // kCheckCondition
  std::uint16_t code = 0;          // ASC and ASCQ
  std::uint32_t missing = 0;       // bytes of data that did not come or were not taken
  bool good() const { return !lost && status == ScsiStatus::kGood; }
};

inline constexpr std::uint16_t kInvalidOpcode = 0x2000;
inline constexpr std::uint16_t kInvalidFieldInCdb = 0x2400;
inline constexpr std::uint16_t kInvalidFieldInParameters = 0x2600;
inline constexpr std::uint16_t kSpaceAllocationFailed = 0x2707;

ScsiCommand TestUnitReady();
ScsiCommand ReadCapacity16(std::uint32_t bytes);
ScsiCommand ReadCapacity10();
ScsiCommand InquiryPage(std::uint8_t page, std::uint16_t bytes);
ScsiCommand ModeSense6(std::uint8_t bytes);
ScsiCommand Read16(std::uint64_t block, std::uint32_t blocks);
// `durable`: FUA, for devices that have it.
ScsiCommand Write16(std::uint64_t block, std::uint32_t blocks, bool durable);
ScsiCommand SynchronizeCache();
inline constexpr std::size_t kUnmapBytes = 24;
ScsiCommand Unmap();
// What an Unmap of one range sends.
std::array<std::byte, kUnmapBytes> UnmapParameters(std::uint64_t block, std::uint32_t blocks);
// Its data is one block.
ScsiCommand WriteSame16(std::uint64_t block, std::uint32_t blocks, bool unmap);

struct DiskCapacity {
  std::uint64_t blocks = 0;
  std::uint32_t block_bytes = 0;           // power of two, 512 to 64 KiB
  std::uint32_t physical_block_bytes = 0;  // power of two, >= block_bytes, <= 1 MiB
  bool can_unmap = false;                  // LBPME
};
inline constexpr std::uint32_t kCapacityBytes = 32;
// nullopt: too short, or numbers that no disk of ours has.
std::optional<DiskCapacity> ParseCapacity(std::span<const std::byte> data);

// Of the older command, which answers those whom a reservation shuts out as well.
inline constexpr std::uint32_t kCapacity10Bytes = 8;
std::optional<DiskCapacity> ParseCapacity10(std::span<const std::byte> data);

struct DiskLimits {  // VPD page B0h; 0: not said
  std::uint32_t max_transfer_blocks = 0;
  std::uint32_t optimal_transfer_blocks = 0;
  std::uint32_t max_unmap_blocks = 0;
  std::uint32_t unmap_granularity = 0;  // blocks
  std::uint64_t max_write_same_blocks = 0;
};
inline constexpr std::uint8_t kLimitsPage = 0xb0;
inline constexpr std::uint32_t kLimitsBytes = 64;
// What is missing is 0.
DiskLimits ParseLimits(std::span<const std::byte> data);

struct Provisioning {       // VPD page B2h
  bool unmap = false;       // LBPU
  bool write_same = false;  // LBPWS: WRITE SAME (16) may unmap
};
inline constexpr std::uint8_t kProvisioningPage = 0xb2;
inline constexpr std::uint32_t kProvisioningBytes = 8;
Provisioning ParseProvisioning(std::span<const std::byte> data);

inline constexpr std::uint32_t kModeBytes = 4;
struct ModeBits {
  bool write_protected = false;
  bool durable_writes = false;  // DPOFUA
};
ModeBits ParseMode(std::span<const std::byte> data);

}  // namespace gemel::block
