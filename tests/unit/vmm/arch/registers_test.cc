#include "vmm/arch/x86/registers.h"

#include <gtest/gtest.h>

namespace gemel::x86 {
namespace {

TEST(StartRegisters, Pvh_IsFlatProtectedModeWithoutPaging) {
  const StartRegisters r = RegistersFor({BootState::Mode::kProtected32, 0x100000, 0x6000, 0x8ff0});
  EXPECT_EQ(r.rip, 0x100000u);
  EXPECT_EQ(r.rbx, 0x6000u);
  EXPECT_EQ(r.rflags, 2u);
  EXPECT_EQ(r.cr0, 0x11u);
  EXPECT_EQ(r.cr4, 0u);
  EXPECT_EQ(r.efer, 0u);
  EXPECT_TRUE(r.code.big);
  EXPECT_FALSE(r.code.long_mode);
  EXPECT_EQ(r.code.limit, 0xffffffffu);
  EXPECT_EQ(r.gdt.limit, 0u);
}

TEST(StartRegisters, Linux64_IsLongModeWithPaging) {
  const StartRegisters r =
      RegistersFor({BootState::Mode::kLong64, 0x1000200, 0x7000, 0x8ff0, 0x9000, 0x500});
  EXPECT_EQ(r.rip, 0x1000200u);
  EXPECT_EQ(r.rsi, 0x7000u);
  EXPECT_EQ(r.cr0, 0x80000011u);
  EXPECT_EQ(r.cr3, 0x9000u);
  EXPECT_EQ(r.cr4, 0x20u);
  EXPECT_EQ(r.efer, 0x500u);
  EXPECT_EQ(r.code.selector, 0x10);
  EXPECT_EQ(r.data.selector, 0x18);
  EXPECT_TRUE(r.code.long_mode);
  EXPECT_FALSE(r.code.big);
  EXPECT_EQ(r.gdt.base, 0x500u);
  EXPECT_EQ(r.gdt.limit, 31);
}

}  // namespace
}  // namespace gemel::x86
