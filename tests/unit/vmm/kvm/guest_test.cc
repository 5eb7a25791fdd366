// Bare-metal guests (tests/guests) on this host's KVM.
#include <gtest/gtest.h>

#include "tests/unit/vmm/kvm/test_machine.h"

namespace gemel::kvm {
namespace {

using End = TestMachine::End;

TEST(Guest, Started_SaysHelloAndExits) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("hello", "one two=3");
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  EXPECT_EQ(machine.console(), "hello from a bare-metal guest: one two=3\n");
  EXPECT_EQ(machine.exit_code(), 42u);
}

}  // namespace
}  // namespace gemel::kvm
