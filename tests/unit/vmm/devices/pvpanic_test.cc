#include "vmm/devices/pvpanic.h"

#include <gmock/gmock.h>

#include <array>

#include "tests/fakes/fake_machine_events.h"

namespace gemel {
namespace {

using ::testing::ElementsAre;
using Panic = MachineEvents::Panic;

class PvPanicTest : public ::testing::Test {
 protected:
  void Write(int value) { pvpanic_.Write(0, std::array{static_cast<std::byte>(value)}); }

  testing::FakeMachineEvents events_;
  PvPanic pvpanic_{&events_};
};

TEST_F(PvPanicTest, Read_GivesTheEventsItKnows) {
  std::array<std::byte, 1> data{};
  pvpanic_.Read(0, data);
  EXPECT_EQ(data[0], std::byte{3});
}

TEST_F(PvPanicTest, Panicked_IsTheEndOfTheGuest) {
  Write(1);
  EXPECT_THAT(events_.panics, ElementsAre(Panic::kDead));
}

TEST_F(PvPanicTest, CrashKernelLoaded_IsNot) {
  Write(2);
  EXPECT_THAT(events_.panics, ElementsAre(Panic::kDumping));
}

TEST_F(PvPanicTest, UnknownEvents_AreIgnored) {
  Write(0);
  Write(0xfc);
  EXPECT_TRUE(events_.panics.empty());
}

}  // namespace
}  // namespace gemel
