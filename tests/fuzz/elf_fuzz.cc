// Loads bent ELF files, headers and notes and all, into a small machine. Whatever is in the file,
// only RAM above 1 MiB may be written and the entry must lie in what was loaded.
#include <fuzzer/FuzzedDataProvider.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/fakes/kernel_image.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/boot/elf_loader.h"

namespace gemel {
namespace {

constexpr std::uint64_t kRam = 32 << 20;

bool Rarely(FuzzedDataProvider& input) { return input.ConsumeIntegralInRange(0, 15) == 15; }

std::uint64_t Number(FuzzedDataProvider& input, std::uint64_t low, std::uint64_t high) {
  if (Rarely(input) || low > high) return input.ConsumeIntegral<std::uint64_t>();
  return input.ConsumeIntegralInRange(low, high);
}

fakes::Bytes AnyNotes(FuzzedDataProvider& input) {
  fakes::Bytes notes;
  while (notes.size() < 0x600 && input.ConsumeBool()) {
    fakes::Bytes note =
        input.ConsumeBool()
            ? fakes::PvhNote(static_cast<std::uint32_t>(Number(input, 0x1000000, 0x1003000)))
            : fakes::Note(input.ConsumeRandomLengthString(8), input.ConsumeIntegral<std::uint8_t>(),
                          fakes::Bytes(input.ConsumeIntegralInRange<std::size_t>(0, 32)));
    if (Rarely(input))
      StoreLe(std::span(note), input.ConsumeIntegralInRange<std::size_t>(0, 2) * 4,
              input.ConsumeIntegral<std::uint32_t>());
    notes.insert(notes.end(), note.begin(), note.end());
  }
  return notes;
}

fakes::Bytes AnyFile(FuzzedDataProvider& input) {
  fakes::ElfFile file;
  file.notes = AnyNotes(input);
  for (int n = input.ConsumeIntegralInRange(0, 6); n > 0; --n) {
    fakes::ProgramHeader header;
    header.type = Rarely(input)         ? input.ConsumeIntegral<std::uint32_t>()
                  : input.ConsumeBool() ? boot::elf::kTypeLoad
                                        : boot::elf::kTypeNote;
    const bool note = header.type == boot::elf::kTypeNote;
    header.offset = note ? Number(input, 0x800, 0x804) : Number(input, 0x1000, 0x2000);
    header.address = Number(input, x86::kHighRam, kRam);
    header.file_size =
        note ? Number(input, file.notes.size(), file.notes.size() + 8) : Number(input, 0, 0x1000);
    header.memory_size = Number(input, header.file_size, 0x100000);
    header.align = input.ConsumeBool() ? 4 : 8;
    file.headers.push_back(header);
  }
  fakes::Bytes bytes = file.Build();
  while (Rarely(input))
    bytes[input.ConsumeIntegralInRange<std::size_t>(0, 63)] =
        std::byte{input.ConsumeIntegral<std::uint8_t>()};
  if (Rarely(input)) bytes.resize(input.ConsumeIntegralInRange<std::size_t>(1, bytes.size()));
  return bytes;
}

void Run(FuzzedDataProvider& input) {
  static const MemoryRange kRanges[] = {{GuestAddress{0}, kRam}};
  static const auto memory = GuestMemory::Create(kRanges, MemoryBacking::kAnonymous);
  static const UniqueFd fd(memfd_create("elf", MFD_CLOEXEC));
  const fakes::Bytes bytes = AnyFile(input);
  CHECK(ftruncate(fd.get(), 0) == 0);
  CHECK(pwrite(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  const auto file = boot::ImageFile::Create(fd.get(), "kernel", "/k");
  CHECK(file.has_value());
  const auto kernel = boot::LoadElf(*file, **memory);
  if (!kernel) {
    CHECK(kernel.error().message.starts_with("kernel: /k: "));
    return;
  }
  CHECK(kernel->start >= x86::kHighRam && kernel->start < kernel->end && kernel->end <= kRam);
  CHECK(kernel->entry >= kernel->start && kernel->entry < kernel->end);
}

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  gemel::Run(input);
  return 0;
}
