// Small kernel files for loader tests and fuzzers: sound ones, of which a test bends one field.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/load_le.h"
#include "base/unique_fd.h"
#include "vmm/boot/boot_params.h"
#include "vmm/boot/elf_format.h"

namespace gemel::fakes {

using Bytes = std::vector<std::byte>;

// An anonymous file with that content.
inline UniqueFd FileOf(std::span<const std::byte> bytes) {
  UniqueFd fd(memfd_create("image", MFD_CLOEXEC));
  CHECK(fd &&
        pwrite(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

struct ProgramHeader {
  std::uint32_t type = boot::elf::kTypeLoad;
  std::uint64_t offset = 0;
  std::uint64_t address = 0;
  std::uint64_t file_size = 0;
  std::uint64_t memory_size = 0;
  std::uint64_t align = 4;
};

// A note as it stands in a PT_NOTE segment of 4-byte alignment.
inline Bytes Note(std::string_view name, std::uint32_t type, std::span<const std::byte> desc) {
  const auto round_up = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
  Bytes note(12 + round_up(name.size() + 1) + round_up(desc.size()));
  StoreLe(std::span(note), 0, static_cast<std::uint32_t>(name.size() + 1));
  StoreLe(std::span(note), 4, static_cast<std::uint32_t>(desc.size()));
  StoreLe(std::span(note), 8, type);
  std::ranges::copy(std::as_bytes(std::span(name)), note.begin() + 12);
  std::ranges::copy(desc,
                    note.begin() + static_cast<std::ptrdiff_t>(12 + round_up(name.size() + 1)));
  return note;
}

inline Bytes PvhNote(std::uint32_t entry) {
  return Note("Xen", boot::elf::kXenNotePhys32Entry, std::as_bytes(std::span(&entry, 1)));
}

// An ELF64 for x86-64: file header, program headers from byte 64, notes at 0x800, and 0x1000 bytes
// of content from byte 0x1000 on: byte i of it is i * 7.
struct ElfFile {
  std::vector<ProgramHeader> headers;
  Bytes notes = PvhNote(0x1000000);

  // One segment at 16 MiB with a bss, and the notes.
  static ElfFile Sound() {
    ElfFile file;
    file.headers.push_back(
        {.offset = 0x1000, .address = 0x1000000, .file_size = 0x1000, .memory_size = 0x3000});
    file.headers.push_back({.type = boot::elf::kTypeNote,
                            .offset = 0x800,
                            .file_size = file.notes.size(),
                            .memory_size = file.notes.size()});
    return file;
  }

  Bytes Build() const {
    Bytes bytes(0x2000);
    const std::span<std::byte> b(bytes);
    StoreLe(b, 0, boot::elf::kMagic);
    b[boot::elf::kClass] = std::byte{boot::elf::kClass64};
    b[boot::elf::kData] = std::byte{boot::elf::kLittleEndian};
    StoreLe(b, boot::elf::kMachine, boot::elf::kMachineX86_64);
    StoreLe(b, boot::elf::kPhOff, std::uint64_t{boot::elf::kHeaderSize});
    StoreLe(b, boot::elf::kPhEntSize, static_cast<std::uint16_t>(boot::elf::kProgramHeaderSize));
    StoreLe(b, boot::elf::kPhNum, static_cast<std::uint16_t>(headers.size()));
    std::size_t at = boot::elf::kHeaderSize;
    for (const ProgramHeader& header : headers) {
      StoreLe(b, at + boot::elf::kPhType, header.type);
      StoreLe(b, at + boot::elf::kPhOffset, header.offset);
      StoreLe(b, at + boot::elf::kPhPaddr, header.address);
      StoreLe(b, at + boot::elf::kPhFileSize, header.file_size);
      StoreLe(b, at + boot::elf::kPhMemSize, header.memory_size);
      StoreLe(b, at + boot::elf::kPhAlign, header.align);
      at += boot::elf::kProgramHeaderSize;
    }
    std::ranges::copy(notes, bytes.begin() + 0x800);
    for (std::size_t i = 0; i < 0x1000; ++i) bytes[0x1000 + i] = static_cast<std::byte>(i * 7);
    return bytes;
  }
};

// A bzImage of protocol 2.15 with 4 setup sectors and a payload of 0x1000 bytes, byte i of it i
// * 5.
inline Bytes BzImageFile() {
  namespace zp = boot::zero_page;
  constexpr std::size_t kPayload = 5 * 512;
  Bytes bytes(kPayload + 0x1000);
  const std::span<std::byte> b(bytes);
  b[zp::kSetupSects] = std::byte{4};
  StoreLe(b, zp::kSysSize, std::uint32_t{0x1000 / 16});
  StoreLe(b, zp::kBootFlag, std::uint16_t{0xaa55});
  StoreLe(b, zp::kJump, std::uint16_t{0x6aeb});
  StoreLe(b, zp::kHeaderMagic, std::uint32_t{0x53726448});
  StoreLe(b, zp::kVersion, std::uint16_t{0x020f});
  b[zp::kLoadFlags] = std::byte{1};
  StoreLe(b, zp::kInitrdAddrMax, std::uint32_t{0x7fffffff});
  StoreLe(b, zp::kXLoadFlags, std::uint16_t{1});
  StoreLe(b, zp::kCmdlineSize, std::uint32_t{2047});
  StoreLe(b, zp::kPrefAddress, std::uint64_t{0x1000000});
  StoreLe(b, zp::kInitSize, std::uint32_t{0x200000});
  for (std::size_t i = 0; i < 0x1000; ++i) bytes[kPayload + i] = static_cast<std::byte>(i * 5);
  return bytes;
}

}  // namespace gemel::fakes
