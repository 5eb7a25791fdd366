#include "vmm/boot/elf_loader.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/load_le.h"
#include "vmm/boot/elf_format.h"

namespace gemel::boot {
namespace {

constexpr std::uint16_t kMaxProgramHeaders = 128;
constexpr std::uint64_t kMaxNoteBytes = 64 << 10;  // Linux has some hundred bytes of them

struct ProgramHeader {
  std::uint32_t type;
  std::uint64_t offset;
  std::uint64_t address;
  std::uint64_t file_size;
  std::uint64_t memory_size;
  std::uint64_t align;
};

ProgramHeader ParseProgramHeader(std::span<const std::byte> bytes) {
  return {.type = LoadLe32(bytes, elf::kPhType),
          .offset = LoadLe64(bytes, elf::kPhOffset),
          .address = LoadLe64(bytes, elf::kPhPaddr),
          .file_size = LoadLe64(bytes, elf::kPhFileSize),
          .memory_size = LoadLe64(bytes, elf::kPhMemSize),
          .align = LoadLe64(bytes, elf::kPhAlign)};
}

Result<std::vector<ProgramHeader>> ReadProgramHeaders(const ImageFile& file) {
  std::array<std::byte, elf::kHeaderSize> header;
  if (file.size() < header.size()) return file.Invalid("truncated: no whole ELF header");
  RETURN_IF_ERROR(file.Read(0, header));
  if (static_cast<std::uint8_t>(header[elf::kClass]) != elf::kClass64 ||
      static_cast<std::uint8_t>(header[elf::kData]) != elf::kLittleEndian ||
      LoadLe16(header, elf::kMachine) != elf::kMachineX86_64)
    return file.Invalid("an ELF for another machine: only 64-bit x86 kernels can be started");
  const std::uint64_t offset = LoadLe64(header, elf::kPhOff);
  const std::uint16_t count = LoadLe16(header, elf::kPhNum);
  if (LoadLe16(header, elf::kPhEntSize) != elf::kProgramHeaderSize || count == 0 ||
      count > kMaxProgramHeaders)
    return file.Invalid("not a loadable ELF: {} program headers of {} bytes", count,
                        LoadLe16(header, elf::kPhEntSize));
  std::vector<std::byte> table(count * elf::kProgramHeaderSize);
  if (offset > file.size() || file.size() - offset < table.size())
    return file.Invalid("truncated: program headers at byte {}, file has {}", offset, file.size());
  RETURN_IF_ERROR(file.Read(offset, table));
  std::vector<ProgramHeader> headers;
  for (std::size_t at = 0; at < table.size(); at += elf::kProgramHeaderSize)
    headers.push_back(ParseProgramHeader(std::span(table).subspan(at)));
  return headers;
}

// Where [offset, offset + size) ends, if the file has all of it.
Status CheckInFile(const ImageFile& file, const ProgramHeader& header, std::size_t index) {
  if (header.file_size > UINT64_MAX - header.offset)
    return file.Invalid("segment {} wraps: {} bytes at byte {}", index, header.file_size,
                        header.offset);
  if (header.offset + header.file_size > file.size())
    return file.Invalid("truncated: segment {} ends at byte {}, file has {}", index,
                        header.offset + header.file_size, file.size());
  return {};
}

Status CheckSegment(const ImageFile& file, const ProgramHeader& header, std::size_t index) {
  RETURN_IF_ERROR(CheckInFile(file, header, index));
  if (header.file_size > header.memory_size)
    return file.Invalid("segment {}: {} bytes in the file for {} in memory", index,
                        header.file_size, header.memory_size);
  if (header.memory_size > UINT64_MAX - header.address)
    return file.Invalid("segment {}: {:#x} bytes at {:#x} wrap", index, header.memory_size,
                        header.address);
  return {};
}

Result<std::vector<ElfImage::Segment>> CollectSegments(const ImageFile& file,
                                                       std::span<const ProgramHeader> headers) {
  std::vector<ElfImage::Segment> segments;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const ProgramHeader& header = headers[i];
    if (header.type != elf::kTypeLoad || header.memory_size == 0) continue;
    RETURN_IF_ERROR(CheckSegment(file, header, i));
    segments.push_back({header.offset, header.file_size, header.address, header.memory_size});
  }
  if (segments.empty()) return file.Invalid("an ELF with nothing to load");
  std::ranges::sort(segments, {}, &ElfImage::Segment::address);
  for (std::size_t i = 1; i < segments.size(); ++i) {
    if (segments[i].address - segments[i - 1].address < segments[i - 1].memory_size)
      return file.Invalid("segments overlap at {:#x}", segments[i].address);
  }
  return segments;
}

Result<std::uint32_t> ReadPvhEntry(const ImageFile& file, std::span<const ProgramHeader> headers) {
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const ProgramHeader& header = headers[i];
    if (header.type != elf::kTypeNote || header.file_size > kMaxNoteBytes) continue;
    RETURN_IF_ERROR(CheckInFile(file, header, i));
    std::vector<std::byte> notes(header.file_size);
    RETURN_IF_ERROR(file.Read(header.offset, notes));
    if (const auto entry = FindPvhEntry(notes, header.align)) return *entry;
  }
  return file.Invalid(
      "an ELF without a PVH entry (XEN_ELFNOTE_PHYS32_ENTRY): build the kernel with CONFIG_PVH=y, "
      "or give its bzImage");
}

bool InSegment(const ElfImage& image) {
  return std::ranges::any_of(image.segments, [&](const ElfImage::Segment& segment) {
    return image.entry >= segment.address && image.entry - segment.address < segment.memory_size;
  });
}

}  // namespace

bool LooksLikeElf(std::span<const std::byte> head) {
  return head.size() >= 4 && LoadLe32(head) == elf::kMagic;
}

std::optional<std::uint32_t> FindPvhEntry(std::span<const std::byte> notes, std::uint64_t align) {
  const std::uint64_t unit = align == 8 ? 8 : 4;
  const auto round_up = [unit](std::uint64_t n) { return (n + unit - 1) & ~(unit - 1); };
  while (notes.size() >= elf::kNoteHeaderSize) {
    // 32-bit sizes: the sums below fit in 64 bits.
    const std::uint64_t name_size = LoadLe32(notes, 0);
    const std::uint64_t desc_size = LoadLe32(notes, 4);
    const std::uint64_t desc_at = round_up(elf::kNoteHeaderSize + name_size);
    if (desc_at > notes.size() || desc_size > notes.size() - desc_at) return std::nullopt;
    if (LoadLe32(notes, 8) == elf::kXenNotePhys32Entry && name_size == sizeof elf::kXenNoteName &&
        std::memcmp(notes.data() + elf::kNoteHeaderSize, elf::kXenNoteName, name_size) == 0) {
      if (desc_size == 4) return LoadLe32(notes, desc_at);
      if (desc_size != 8) return std::nullopt;
      const std::uint64_t entry = LoadLe64(notes, desc_at);
      if (entry > UINT32_MAX) return std::nullopt;
      return static_cast<std::uint32_t>(entry);
    }
    const std::uint64_t next = round_up(desc_at + desc_size);
    if (next >= notes.size()) return std::nullopt;
    notes = notes.subspan(next);
  }
  return std::nullopt;
}

Result<ElfImage> ParseElf(const ImageFile& file) {
  ASSIGN_OR_RETURN(const std::vector<ProgramHeader> headers, ReadProgramHeaders(file));
  ElfImage image;
  ASSIGN_OR_RETURN(image.segments, CollectSegments(file, headers));
  ASSIGN_OR_RETURN(image.entry, ReadPvhEntry(file, headers));
  if (!InSegment(image)) return file.Invalid("its PVH entry {:#x} is in no segment", image.entry);
  return image;
}

Result<LoadedKernel> LoadElf(const ImageFile& file, const GuestMemory& memory) {
  ASSIGN_OR_RETURN(const ElfImage image, ParseElf(file));
  for (const ElfImage::Segment& segment : image.segments) {
    if (segment.address < x86::kHighRam ||
        memory.HostRange(GuestAddress{segment.address}, segment.memory_size).empty())
      return file.Invalid(
          "needs {} at {:#x}, which does not lie between 1 MiB and the end of {} of memory",
          FormatBytes(segment.memory_size), segment.address, FormatBytes(memory.size()));
  }
  for (const ElfImage::Segment& segment : image.segments) {
    RETURN_IF_ERROR(file.Read(segment.file_offset,
                              memory.HostRange(GuestAddress{segment.address}, segment.file_size)));
  }
  const ElfImage::Segment& last = image.segments.back();
  LoadedKernel kernel;
  kernel.mode = x86::BootState::Mode::kProtected32;
  kernel.entry = image.entry;
  kernel.start = image.segments.front().address;
  kernel.end = last.address + last.memory_size;
  return kernel;
}

}  // namespace gemel::boot
