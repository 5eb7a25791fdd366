// Boots bent bzImages, with an initrd of some size and a command line, in a small machine. What is
// loaded must lie in RAM above 1 MiB, and kernel and initrd apart.
#include <fuzzer/FuzzedDataProvider.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/fakes/kernel_image.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/boot/boot.h"

namespace gemel {
namespace {

namespace zp = boot::zero_page;
constexpr std::uint64_t kRam = 32 << 20;

bool Rarely(FuzzedDataProvider& input) { return input.ConsumeIntegralInRange(0, 15) == 15; }

std::uint64_t Number(FuzzedDataProvider& input, std::uint64_t low, std::uint64_t high) {
  if (Rarely(input)) return input.ConsumeIntegral<std::uint64_t>();
  return input.ConsumeIntegralInRange(low, high);
}

fakes::Bytes AnyFile(FuzzedDataProvider& input) {
  fakes::Bytes bytes = fakes::BzImageFile();
  const std::span<std::byte> b(bytes);
  StoreLe(b, zp::kPrefAddress, Number(input, x86::kHighRam, kRam));
  StoreLe(b, zp::kInitSize, static_cast<std::uint32_t>(Number(input, 0x1000, kRam)));
  StoreLe(b, zp::kInitrdAddrMax, static_cast<std::uint32_t>(Number(input, x86::kHighRam, kRam)));
  StoreLe(b, zp::kCmdlineSize, static_cast<std::uint32_t>(Number(input, 0, 4096)));
  if (Rarely(input)) StoreLe(b, zp::kSysSize, input.ConsumeIntegral<std::uint32_t>());
  if (Rarely(input)) b[zp::kSetupSects] = std::byte{input.ConsumeIntegral<std::uint8_t>()};
  if (Rarely(input)) b[zp::kJump + 1] = std::byte{input.ConsumeIntegral<std::uint8_t>()};
  while (Rarely(input))
    bytes[input.ConsumeIntegralInRange<std::size_t>(0x1f1, 0x290)] =
        std::byte{input.ConsumeIntegral<std::uint8_t>()};
  if (Rarely(input)) bytes.resize(input.ConsumeIntegralInRange<std::size_t>(1, bytes.size()));
  return bytes;
}

void CheckPlaces(const GuestMemory& memory, const x86::BootState& state) {
  CHECK(state.mode == x86::BootState::Mode::kLong64);
  CHECK(state.entry >= x86::kHighRam && state.entry < kRam);
  const GuestAddress page{x86::kBootParams};
  const auto field = [&](std::size_t at) {
    return std::uint64_t{*memory.Read<std::uint32_t>(GuestAddress{page.value + at})};
  };
  const std::uint64_t initrd = field(zp::kRamdiskImage);
  const std::uint64_t size = field(zp::kRamdiskSize);
  if (size == 0) return;
  const std::uint64_t kernel = state.entry - 0x200;
  CHECK(initrd >= x86::kHighRam && initrd + size <= kRam);
  CHECK(initrd + size <= kernel || initrd >= kernel + field(zp::kInitSize));
}

void Run(FuzzedDataProvider& input) {
  static const MemoryRange kRanges[] = {{GuestAddress{0}, kRam}};
  static const auto memory = GuestMemory::Create(kRanges, MemoryBacking::kAnonymous);
  static const UniqueFd kernel(memfd_create("kernel", MFD_CLOEXEC));
  static const UniqueFd initrd(memfd_create("initrd", MFD_CLOEXEC));
  boot::BootSources sources;
  sources.kernel_fd = kernel.get();
  sources.kernel_name = std::string("/k");
  sources.cmdline = input.ConsumeRandomLengthString(64);
  if (Rarely(input))
    sources.cmdline.append(input.ConsumeIntegralInRange<std::size_t>(0, 4096), 'x');
  if (input.ConsumeBool()) {
    // Sparse: mostly small, because all of it is read.
    const std::uint64_t size = Rarely(input)
                                   ? input.ConsumeIntegralInRange<std::uint64_t>(0, 64 << 20)
                                   : input.ConsumeIntegralInRange<std::uint64_t>(0, 0x10000);
    CHECK(ftruncate(initrd.get(), static_cast<off_t>(size)) == 0);
    sources.initrd_fd = initrd.get();
    sources.initrd_name = std::string("/i");
  }
  const fakes::Bytes bytes = AnyFile(input);
  CHECK(ftruncate(kernel.get(), 0) == 0);
  CHECK(pwrite(kernel.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  const auto state = boot::Load(**memory, sources);
  if (state) CheckPlaces(**memory, *state);
}

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  gemel::Run(input);
  return 0;
}
