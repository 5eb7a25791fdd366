#include "launch/vmm_process.h"

#include <gtest/gtest.h>

namespace gemel::launch {
namespace {

ExitState Read(std::string_view record) {
  ExitState state;
  ReadExitRecord(record, state);
  return state;
}

TEST(ExitRecord, WithoutLastWords_HasNone) { EXPECT_EQ(Read("exit 0\n").last_words, ""); }

TEST(ExitRecord, LastWords_AreOfTheSecondLine) {
  EXPECT_EQ(Read("exit 1\nended crashed vCPU 0: bad\n").last_words, "crashed vCPU 0: bad");
}

TEST(ExitRecord, RefusedCall_EndsWithItsLine) {
  const ExitState state = Read("signal 31 openat 257 vcpu-0\nended crashed x\n");
  EXPECT_EQ(state.refused, "openat 257 vcpu-0");
  EXPECT_EQ(state.last_words, "crashed x");
}

TEST(ExitRecord, NotStarted_SaysWhy) {
  EXPECT_EQ(Read("failed exec /x: Permission denied\n").failed, "exec /x: Permission denied");
}

TEST(ExitRecord, Nonsense_IsNothing) {
  for (const std::string_view record : {"", "\n", "\n\n", "signal", "ended", "exit\nended"}) {
    const ExitState state = Read(record);
    EXPECT_EQ(state.refused + state.failed + state.last_words, "") << record;
  }
}

}  // namespace
}  // namespace gemel::launch
