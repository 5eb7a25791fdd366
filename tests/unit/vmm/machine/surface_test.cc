// What machine type server-1 shows its guests on the PCI bus. ACPI, SMBIOS and CPUID have golden
// files of their own (tests/unit/vmm/arch).
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "tests/fakes/fake_block_backend.h"
#include "tests/fakes/fake_io_event_registrar.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_msi.h"
#include "tests/fakes/test_memory.h"
#include "tests/unit/vmm/arch/golden_file.h"
#include "virtio/blk/device.h"
#include "virtio/rng/device.h"
#include "virtio/transport/pci_transport.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/memory_map.h"
#include "vmm/pci/q35.h"

namespace gemel {
namespace {

class SurfaceTest : public ::testing::Test {
 protected:
  SurfaceTest() {
    auto q35 = pci::Q35::Create({.memory = &mmio_, .ports = &ports_, .lines = &lines_});
    CHECK(q35.has_value());
    q35_ = std::move(*q35);
  }

  void Attach(unsigned device, std::string name, std::unique_ptr<virtio::VirtioDevice> virtio) {
    virtio::PciTransport::Wiring wiring;
    wiring.memory = memory_.get();
    wiring.io_events = &io_events_;
    wiring.msis = &msis_;
    wiring.name = std::move(name);
    auto transport = virtio::PciTransport::Create(std::move(wiring), std::move(virtio));
    CHECK(transport.has_value());
    CHECK(q35_->Attach(device, std::move(*transport)).has_value());
  }

  // As ServerPlatform does before a direct boot.
  void Program() {
    const pci::Q35::Layout layout{
        .ecam = x86::kEcam,
        .pm_base = x86::kPortPm,
        .resources = {.io = {x86::kPciIo, x86::kPciIoSize},
                      .memory32 = {x86::kPciMemory, x86::kPciMemorySize},
                      .memory64 = {x86::PciMemory64(1ull << 30), x86::kPciMemory64Size}}};
    CHECK(q35_->Program(layout).has_value());
  }

  // All that is not zero, a register a line.
  std::string Dump() {
    std::string text;
    for (unsigned devfn = 0; devfn < 256; ++devfn) {
      const pci::Devfn place{static_cast<std::uint8_t>(devfn)};
      if (q35_->root().function(place) == nullptr) continue;
      text += fmt::format("00:{:02x}.{} {}\n", place.device(), place.function(),
                          q35_->root().function(place)->name());
      for (std::uint16_t offset = 0; offset < 4096;
           offset = static_cast<std::uint16_t>(offset + 4)) {
        const auto value =
            q35_->root().Get<std::uint32_t>({.bus = 0, .devfn = place, .offset = offset});
        if (value != 0) text += fmt::format("  {:03x} {:08x}\n", offset, value);
      }
    }
    return text;
  }

  std::unique_ptr<GuestMemory> memory_ = testing::MakeTestMemory();
  testing::FakeIrqLines lines_;
  testing::FakeMsiAllocator msis_;
  testing::FakeIoEventRegistrar io_events_;
  IoBus mmio_, ports_;
  std::unique_ptr<pci::Q35> q35_;
};

TEST_F(SurfaceTest, PciConfigurationOfServer1_IsWhatItAlwaysWas) {
  virtio::BlkOptions options;
  options.name = "blk0";
  options.backend =
      std::make_unique<testing::FakeBlockBackend>(testing::FakeBlockBackend::Options{});
  auto blk = virtio::CreateBlk(std::move(options));
  ASSERT_TRUE(blk.has_value());
  Attach(1, "blk0", std::move(*blk));
  auto rng = virtio::CreateRng("rng0");
  ASSERT_TRUE(rng.has_value());
  Attach(2, "rng0", std::move(*rng));
  Program();
  EXPECT_TRUE(testing::IsGolden(GOLDEN_FOLDER "/server-1.pci", Dump())) << Dump();
}

}  // namespace
}  // namespace gemel
