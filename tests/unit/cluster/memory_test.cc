#include "cluster/memory.h"

#include <gtest/gtest.h>

namespace gemel::cluster {
namespace {

using Verdict = Memory::Verdict;

Memory Seen() {
  Memory memory;
  EXPECT_EQ(memory.OnView(1, {1}, {10}, {100}), Verdict::kNew);
  return memory;
}

TEST(Memory, ViewOfThePast_IsStaleAndNoAlarm) {
  Memory memory = Seen();
  EXPECT_EQ(memory.OnView(1, {1}, {9}, {101}), Verdict::kStale);
  EXPECT_FALSE(memory.alarmed());
}

TEST(Memory, AnswerOfThePast_IsAnAlarmThatLasts) {
  Memory memory = Seen();
  EXPECT_EQ(memory.OnAnswer({9}, {10}), Verdict::kAlarm);
  EXPECT_EQ(memory.OnAnswer({11}, {10}), Verdict::kAlarm);
  EXPECT_EQ(memory.OnView(1, {1}, {12}, {101}), Verdict::kAlarm);
}

// Found by the explorer: a watch may be ahead of an answer that was slow.
TEST(Memory, SlowAnswerAfterALaterView_IsNoAlarm) {
  Memory memory = Seen();
  const Revision when_sent = memory.highest();
  memory.OnView(1, {1}, {12}, {101});
  EXPECT_EQ(memory.OnAnswer({11}, when_sent), Verdict::kCurrent);
  EXPECT_EQ(memory.highest(), Revision{12});
}

TEST(Memory, LowerIncarnation_IsAnAlarm) {
  Memory memory;
  memory.OnView(3, {1}, {10}, {100});
  EXPECT_EQ(memory.OnView(2, {1}, {50}, {101}), Verdict::kAlarm);
}

TEST(Memory, HigherIncarnation_EndsTheAlarmAndMaySpeakOfLowerRevisions) {
  Memory memory = Seen();
  memory.OnAnswer({9}, {10});
  EXPECT_EQ(memory.OnView(2, {5}, {5}, {200}), Verdict::kNew);
  EXPECT_FALSE(memory.alarmed());
  EXPECT_EQ(memory.incarnation().seen_at, Time{200});
}

TEST(MemoryTest, KeptOverARestart_KnowsWhatWasSeen) {
  Memory memory({3, {5}, {100}}, {70}, false);
  EXPECT_EQ(memory.OnView(3, {5}, {69}, {200}), Memory::Verdict::kStale);
  EXPECT_EQ(memory.OnView(2, {5}, {90}, {200}), Memory::Verdict::kAlarm);
  Memory alarmed({3, {5}, {100}}, {70}, true);
  EXPECT_EQ(alarmed.OnView(3, {5}, {71}, {200}), Memory::Verdict::kAlarm);
}

}  // namespace
}  // namespace gemel::cluster
