#include "block/iscsi/scsi.h"

#include <bit>

#include "base/load_be.h"

namespace gemel::block {
namespace {

using Data = ScsiCommand::Data;

std::span<std::byte> Bytes(ScsiCommand& command) {
  return std::as_writable_bytes(std::span(command.cdb));
}

ScsiCommand Make(std::uint8_t opcode, std::uint8_t bytes, Data data, std::uint32_t length) {
  ScsiCommand command;
  command.cdb[0] = opcode;
  command.cdb_bytes = bytes;
  command.data = data;
  command.bytes = length;
  return command;
}

ScsiCommand OnBlocks(std::uint8_t opcode, Data data, std::uint64_t block, std::uint32_t blocks) {
  ScsiCommand command = Make(opcode, 16, data, 0);
  StoreBe(Bytes(command), 2, block);
  StoreBe(Bytes(command), 10, blocks);
  return command;
}

std::uint8_t At(std::span<const std::byte> data, std::size_t offset) {
  return offset < data.size() ? static_cast<std::uint8_t>(data[offset]) : std::uint8_t{0};
}
std::uint32_t Number32(std::span<const std::byte> data, std::size_t offset) {
  return data.size() >= offset + 4 ? LoadBe32(data, offset) : 0;
}

std::optional<DiskCapacity> MakeCapacity(std::uint64_t last, std::uint32_t block_bytes) {
  if (block_bytes < 512 || block_bytes > (64u << 10) || !std::has_single_bit(block_bytes))
    return std::nullopt;
  if (last >= (std::uint64_t{1} << 62) / block_bytes) return std::nullopt;
  return DiskCapacity{last + 1, block_bytes, block_bytes, false};
}

// A VPD page as long as it says that it is, if it is the one (SPC-4, 7.8.1).
std::span<const std::byte> Page(std::span<const std::byte> data, std::uint8_t page) {
  if (data.size() < 4 || At(data, 1) != page) return {};
  const std::size_t length = std::size_t{LoadBe16(data, 2)} + 4;
  return data.first(length < data.size() ? length : data.size());
}

}  // namespace

ScsiCommand TestUnitReady() { return Make(0x00, 6, Data::kNone, 0); }

ScsiCommand ReadCapacity16(std::uint32_t bytes) {
  ScsiCommand command = Make(0x9e, 16, Data::kIn, bytes);
  command.cdb[1] = 0x10;  // service action
  StoreBe(Bytes(command), 10, bytes);
  return command;
}

ScsiCommand ReadCapacity10() { return Make(0x25, 10, Data::kIn, kCapacity10Bytes); }

ScsiCommand InquiryPage(std::uint8_t page, std::uint16_t bytes) {
  ScsiCommand command = Make(0x12, 6, Data::kIn, bytes);
  command.cdb[1] = 1;  // EVPD
  command.cdb[2] = page;
  StoreBe(Bytes(command), 3, bytes);
  return command;
}

ScsiCommand ModeSense6(std::uint8_t bytes) {
  ScsiCommand command = Make(0x1a, 6, Data::kIn, bytes);
  command.cdb[1] = 0x08;  // no block descriptors
  command.cdb[2] = 0x3f;  // all pages, of which only the header is wanted
  command.cdb[4] = bytes;
  return command;
}

ScsiCommand Read16(std::uint64_t block, std::uint32_t blocks) {
  return OnBlocks(0x88, Data::kIn, block, blocks);
}

ScsiCommand Write16(std::uint64_t block, std::uint32_t blocks, bool durable) {
  ScsiCommand command = OnBlocks(0x8a, Data::kOut, block, blocks);
  if (durable) command.cdb[1] = 0x08;  // FUA
  return command;
}

ScsiCommand SynchronizeCache() { return Make(0x35, 10, Data::kNone, 0); }  // 0 blocks: all

ScsiCommand Unmap() {
  ScsiCommand command = Make(0x42, 10, Data::kOut, kUnmapBytes);
  StoreBe(Bytes(command), 7, std::uint16_t{kUnmapBytes});
  return command;
}

std::array<std::byte, kUnmapBytes> UnmapParameters(std::uint64_t block, std::uint32_t blocks) {
  std::array<std::byte, kUnmapBytes> data{};
  StoreBe(std::span(data), 0, std::uint16_t{kUnmapBytes - 2});
  StoreBe(std::span(data), 2, std::uint16_t{16});  // one descriptor
  StoreBe(std::span(data), 8, block);
  StoreBe(std::span(data), 16, blocks);
  return data;
}

ScsiCommand WriteSame16(std::uint64_t block, std::uint32_t blocks, bool unmap) {
  ScsiCommand command = OnBlocks(0x93, Data::kOut, block, blocks);
  if (unmap) command.cdb[1] = 0x08;
  return command;
}

std::optional<DiskCapacity> ParseCapacity(std::span<const std::byte> data) {
  constexpr std::uint32_t kMaxPhysical = 1 << 20;
  if (data.size() < 14) return std::nullopt;
  auto capacity = MakeCapacity(LoadBe64(data, 0), LoadBe32(data, 8));
  if (!capacity) return std::nullopt;
  const unsigned exponent = At(data, 13) & 0xf;
  for (unsigned i = 0; i < exponent && capacity->physical_block_bytes < kMaxPhysical; ++i)
    capacity->physical_block_bytes <<= 1;
  capacity->can_unmap = (At(data, 14) & 0x80) != 0;
  return capacity;
}

std::optional<DiskCapacity> ParseCapacity10(std::span<const std::byte> data) {
  if (data.size() < kCapacity10Bytes) return std::nullopt;
  const std::uint32_t last = LoadBe32(data, 0);
  if (last == 0xffffffff) return std::nullopt;  // more than this command can say
  return MakeCapacity(last, LoadBe32(data, 4));
}

DiskLimits ParseLimits(std::span<const std::byte> data) {
  data = Page(data, kLimitsPage);
  DiskLimits limits;
  limits.max_transfer_blocks = Number32(data, 8);
  limits.optimal_transfer_blocks = Number32(data, 12);
  // With no descriptor allowed, no block either.
  if (Number32(data, 24) != 0) limits.max_unmap_blocks = Number32(data, 20);
  limits.unmap_granularity = Number32(data, 28);
  if (data.size() >= 44) limits.max_write_same_blocks = LoadBe64(data, 36);
  return limits;
}

Provisioning ParseProvisioning(std::span<const std::byte> data) {
  data = Page(data, kProvisioningPage);
  const std::uint8_t bits = At(data, 5);
  return {(bits & 0x80) != 0, (bits & 0x40) != 0};
}

ModeBits ParseMode(std::span<const std::byte> data) {
  const std::uint8_t bits = At(data, 2);
  return {(bits & 0x80) != 0, (bits & 0x10) != 0};
}

}  // namespace gemel::block
