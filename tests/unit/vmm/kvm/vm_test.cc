#include "vmm/kvm/vm.h"

#include <gtest/gtest.h>

#include "base/event_fd.h"
#include "tests/unit/vmm/kvm/test_machine.h"
#include "vmm/kvm/vcpu.h"

namespace gemel::kvm {
namespace {

TEST(PcIrqRoutes, TimerAndCascade_AreAsOnAPc) {
  int timer_pins = 0;
  for (const IrqRoute& route : PcIrqRoutes()) {
    EXPECT_NE(route.gsi, 2u);
    if (route.target != IrqRoute::Target::kIoApic) continue;
    EXPECT_EQ(route.pin, route.gsi == 0 ? 2u : route.gsi);
    timer_pins += route.pin == 2;
  }
  EXPECT_EQ(timer_pins, 1);
}

TEST(Vm, MemoryBeyondTheGuestsAddressBits_IsRefusedByValue) {
  SKIP_WITHOUT_KVM();
  const auto kvm = OpenKvm();
  const std::uint32_t bits = kvm->capabilities().physical_address_bits;
  if (bits >= 52) GTEST_SKIP() << "NOT TESTED: this host gives a guest all the bits there are";
  const MemoryRange ram[] = {{GuestAddress{0}, 1 << 20},
                             {GuestAddress{(1ull << bits) - (1 << 20)}, 2 << 20}};
  const auto memory = GuestMemory::Create(ram, MemoryBacking::kAnonymous);
  ASSERT_TRUE(memory.has_value());
  const auto vm = kvm->CreateVm();
  ASSERT_TRUE(vm.has_value());
  const Status status = (*vm)->SetMemory(**memory);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find(fmt::format("{:#x}: beyond the {} physical address bits",
                                                    (1ull << bits) + (1 << 20) - 1, bits)),
            std::string::npos)
      << status.error().message;
}

TEST(Vm, IrqchipState_ComesBackAsItWasSaved) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt");
  const auto saved = machine.vm().SaveIrqchip();
  ASSERT_TRUE(saved.has_value());
  ASSERT_TRUE(machine.vm().RestoreIrqchip(*saved).has_value());
  const auto again = machine.vm().SaveIrqchip();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(saved->chips, again->chips);
}

TEST(Vm, SameIoEventTwice_IsRefused) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt");
  const auto event = EventFd::Create();
  ASSERT_TRUE(event.has_value());
  EXPECT_TRUE(machine.vm().Add(0xd0000050, 0, event->get()).has_value());
  EXPECT_TRUE(machine.vm().Add(0xd0000050, 1, event->get()).has_value());
  const Status twice = machine.vm().Add(0xd0000050, 1, event->get());
  ASSERT_FALSE(twice.has_value());
  EXPECT_EQ(twice.error().code, Code::kAlreadyExists);
}

TEST(Vm, Clock_GoesOnFromWhereItIsSet) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt");
  constexpr std::uint64_t kHour = 3600ull * 1'000'000'000;
  ASSERT_TRUE(machine.vm().SetClock(kHour).has_value());
  const auto clock = machine.vm().Clock();
  ASSERT_TRUE(clock.has_value());
  EXPECT_GE(*clock, kHour);
  EXPECT_LT(*clock, 2 * kHour);
}

TEST(Vcpu, RefusedMsr_IsNamed) {
  SKIP_WITHOUT_KVM();
  const auto kvm = OpenKvm();
  const MemoryRange ram{GuestAddress{0}, 1 << 20};
  const auto memory = GuestMemory::Create(std::span(&ram, 1), MemoryBacking::kAnonymous);
  ASSERT_TRUE(memory.has_value());
  const auto vm = kvm->CreateVm();
  ASSERT_TRUE(vm.has_value());
  ASSERT_TRUE((*vm)->SetMemory(**memory).has_value());
  const auto vcpu = (*vm)->CreateVcpu(0);
  ASSERT_TRUE(vcpu.has_value());
  const x86::Msr bad{0x12345678, 1};  // there is none of this number
  const Status status = (*vcpu)->SetMsrs(std::span(&bad, 1));
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("MSR 0x12345678"), std::string::npos);
}

}  // namespace
}  // namespace gemel::kvm
