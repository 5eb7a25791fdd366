#include "vmm/pci/intx.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_irq_lines.h"

namespace gemel::pci {
namespace {

using Gsis = std::set<std::uint32_t>;

class IntxTest : public ::testing::Test {
 protected:
  testing::FakeIrqLines lines_;
  IntxRouter router_{&lines_};
};

TEST(PirqTest, DevicesToThe24th_TurnOverEToH) {
  EXPECT_EQ(PirqOf(0, 0), 4u);
  EXPECT_EQ(PirqOf(1, 0), 5u);
  EXPECT_EQ(PirqOf(1, 3), 4u);
  EXPECT_EQ(PirqOf(24, 1), 5u);
}

TEST(PirqTest, DevicesFromThe25th_UseAToD) {
  EXPECT_EQ(PirqOf(25, 0), 0u);
  EXPECT_EQ(PirqOf(31, 3), 3u);
  EXPECT_EQ(IntxGsi(31, 3), 19u);
}

TEST_F(IntxTest, SetAsserted_HoldsTheLineUpUntilItLetsGo) {
  const auto pin = router_.AddSource(5);
  router_.SetAsserted(pin, true);
  EXPECT_EQ(lines_.up(), Gsis{21});
  EXPECT_TRUE(router_.asserted(pin));
  router_.SetAsserted(pin, false);
  EXPECT_EQ(lines_.up(), Gsis{});
}

TEST_F(IntxTest, SetAsserted_Again_ChangesNoLine) {
  const auto pin = router_.AddSource(5);
  router_.SetAsserted(pin, true);
  router_.SetAsserted(pin, true);
  EXPECT_EQ(lines_.changes(), 1);
}

TEST_F(IntxTest, SharedLine_StaysUpUntilAllLetGo) {
  const auto one = router_.AddSource(4), two = router_.AddSource(4);
  router_.SetAsserted(one, true);
  router_.SetAsserted(two, true);
  router_.SetAsserted(one, false);
  EXPECT_EQ(lines_.up(), Gsis{20});
  router_.SetAsserted(two, false);
  EXPECT_EQ(lines_.up(), Gsis{});
}

TEST_F(IntxTest, Disabled_DoesNotInterruptButIsAsserted) {
  const auto pin = router_.AddSource(4);
  router_.SetDisabled(pin, true);
  router_.SetAsserted(pin, true);
  EXPECT_EQ(lines_.up(), Gsis{});
  EXPECT_TRUE(router_.asserted(pin));
  router_.SetDisabled(pin, false);
  EXPECT_EQ(lines_.up(), Gsis{20});
}

TEST_F(IntxTest, Route_WhileAsserted_RaisesTheIsaIrqToo) {
  const auto pin = router_.AddSource(1);
  router_.SetAsserted(pin, true);
  router_.SetRoute(1, 11);
  EXPECT_EQ(lines_.up(), (Gsis{11, 17}));
  router_.SetRoute(1, 10);
  EXPECT_EQ(lines_.up(), (Gsis{10, 17}));
  router_.SetRoute(1, IntxRouter::kRouteDisabled | 10);
  EXPECT_EQ(lines_.up(), Gsis{17});
}

TEST_F(IntxTest, Route_ToAReservedIrq_RaisesNone) {
  const auto pin = router_.AddSource(1);
  router_.SetAsserted(pin, true);
  for (const std::uint8_t irq : std::to_array<std::uint8_t>({0, 1, 2, 8, 13})) {
    router_.SetRoute(1, irq);
    EXPECT_EQ(lines_.up(), Gsis{17}) << int{irq};
  }
}

TEST_F(IntxTest, TwoPirqs_OnOneIsaIrq_AreOred) {
  const auto one = router_.AddSource(0), two = router_.AddSource(1);
  router_.SetRoute(0, 11);
  router_.SetRoute(1, 11);
  router_.SetAsserted(one, true);
  router_.SetAsserted(two, true);
  router_.SetAsserted(one, false);
  EXPECT_EQ(lines_.up(), (Gsis{11, 17}));
}

}  // namespace
}  // namespace gemel::pci
