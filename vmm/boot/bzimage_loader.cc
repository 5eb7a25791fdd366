#include "vmm/boot/bzimage_loader.h"

#include <algorithm>

#include "base/load_le.h"
#include "vmm/boot/boot_params.h"

namespace gemel::boot {
namespace {

constexpr std::uint16_t kBootFlag = 0xaa55;
constexpr std::uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr std::uint16_t kMinVersion = 0x020c;       // xloadflags
constexpr std::uint8_t kLoadedHigh = 1 << 0;        // loadflags: the kernel is for 1 MiB and up
constexpr std::uint16_t kKernel64 = 1 << 0;         // xloadflags: entry for 64 bits at load + 0x200
constexpr std::uint64_t kSectorSize = 512;
constexpr std::uint64_t kSizeUnit = 16;
constexpr std::uint64_t kEntry64 = 0x200;

}  // namespace

bool LooksLikeBzImage(std::span<const std::byte> head) {
  return head.size() >= zero_page::kHeaderMagic + 4 &&
         LoadLe16(head, zero_page::kBootFlag) == kBootFlag &&
         LoadLe32(head, zero_page::kHeaderMagic) == kHeaderMagic;
}

Result<BzImage> ParseBzImage(const ImageFile& file, std::span<const std::byte> head) {
  if (!LooksLikeBzImage(head)) return file.Invalid("not a bzImage");
  if (head.size() < kBzImageHeadBytes) return file.Invalid("truncated: no whole setup header");
  const std::uint16_t version = LoadLe16(head, zero_page::kVersion);
  if (version < kMinVersion)
    return file.Invalid("boot protocol {}.{:02}: 2.12 or later is needed (Linux 3.8)", version >> 8,
                        version & 0xff);
  if ((LoadLe16(head, zero_page::kXLoadFlags) & kKernel64) == 0 ||
      (static_cast<std::uint8_t>(head[zero_page::kLoadFlags]) & kLoadedHigh) == 0)
    return file.Invalid("a kernel without a 64-bit entry: only 64-bit x86 kernels can be started");
  // The byte after the opcode of the jump at 0x200 says where the header ends.
  const std::size_t header_end = std::min<std::size_t>(
      zero_page::kHeaderMagic + static_cast<std::uint8_t>(head[zero_page::kJump + 1]),
      zero_page::kSetupHeaderEnd);
  if (header_end < zero_page::kInitSize + 4)
    return file.Invalid("a setup header of {} bytes, too short for its version",
                        header_end - zero_page::kSetupHeader);
  BzImage image;
  const std::uint64_t setup_sectors = static_cast<std::uint8_t>(head[zero_page::kSetupSects]);
  image.payload_offset = ((setup_sectors == 0 ? 4 : setup_sectors) + 1) * kSectorSize;
  image.payload_size = std::uint64_t{LoadLe32(head, zero_page::kSysSize)} * kSizeUnit;
  image.load_address = LoadLe64(head, zero_page::kPrefAddress);
  image.memory_size = LoadLe32(head, zero_page::kInitSize);
  image.cmdline_max = LoadLe32(head, zero_page::kCmdlineSize);
  image.initrd_max = LoadLe32(head, zero_page::kInitrdAddrMax);
  const auto header = head.subspan(zero_page::kSetupHeader, header_end - zero_page::kSetupHeader);
  image.setup_header.assign(header.begin(), header.end());

  const std::uint64_t end = image.payload_offset + image.payload_size;
  // The size is in units of 16 bytes, and not every linker fills the last one: Memtest86+ does not.
  if (end > file.size() && end - file.size() < kSizeUnit) {
    image.payload_size -= end - file.size();
  } else if (end > file.size()) {
    return file.Invalid("truncated: the kernel ends at byte {}, file has {}", end, file.size());
  }
  if (image.payload_size <= kEntry64 || image.memory_size < image.payload_size)
    return file.Invalid("its setup header is wrong: {} bytes of kernel for {} of memory",
                        image.payload_size, image.memory_size);
  return image;
}

Result<LoadedKernel> LoadBzImage(const ImageFile& file, std::span<const std::byte> head,
                                 const GuestMemory& memory) {
  ASSIGN_OR_RETURN(BzImage image, ParseBzImage(file, head));
  const GuestAddress at{image.load_address};
  if (at.value < x86::kHighRam || memory.HostRange(at, image.memory_size).empty())
    return file.Invalid(
        "needs {} at {:#x} to unpack, which does not lie between 1 MiB and the end of {} of memory",
        FormatBytes(image.memory_size), at.value, FormatBytes(memory.size()));
  RETURN_IF_ERROR(file.Read(image.payload_offset, memory.HostRange(at, image.payload_size)));
  LoadedKernel kernel;
  kernel.mode = x86::BootState::Mode::kLong64;
  kernel.entry = image.load_address + kEntry64;
  kernel.start = image.load_address;
  kernel.end = image.load_address + image.memory_size;
  kernel.cmdline_max = std::min<std::uint64_t>(image.cmdline_max, kernel.cmdline_max);
  kernel.initrd_max = image.initrd_max;
  kernel.setup_header = std::move(image.setup_header);
  return kernel;
}

}  // namespace gemel::boot
