#include "cluster/storage_claim.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace gemel::cluster {
namespace {

using Op = StorageCommand::Op;
using Phase = StorageClaim::Phase;

constexpr StorageKey kMine{2, {1, 5}};
constexpr StorageKey kOld{1, {1, 4}};
constexpr StorageKey kLeftOver{1, {1, 2}};

StorageAnswer Good() { return {StorageAnswer::Result::kGood, {}, 0, {}}; }
StorageAnswer Read(std::initializer_list<StorageKey> keys, StorageKey holder) {
  StorageAnswer answer = Good();
  for (const StorageKey& key : keys) answer.keys[answer.key_count++] = key;
  answer.holder = holder;
  return answer;
}
StorageClaim Registered() {
  StorageClaim claim(kMine);
  claim.OnAnswer(Good(), {});
  return claim;
}

TEST(StorageClaim, NewDisk_RegistersReadsReservesAndReadsAgain) {
  StorageClaim claim(kMine);
  EXPECT_EQ(claim.Next().op, Op::kRegister);
  claim.OnAnswer(Good(), {});
  EXPECT_EQ(claim.Next().op, Op::kRead);
  claim.OnAnswer(Read({kMine}, {}), {});
  EXPECT_EQ(claim.Next().op, Op::kReserve);
  claim.OnAnswer(Good(), {});
  EXPECT_EQ(claim.phase(), Phase::kRead);
  claim.OnAnswer(Read({kMine}, kMine), {});
  EXPECT_EQ(claim.phase(), Phase::kHeld);
}

TEST(StorageClaim, ForeignKeys_PreemptsEachTheHolderFirst) {
  StorageClaim claim = Registered();
  claim.OnAnswer(Read({kLeftOver, kOld, kMine}, kOld), {});
  EXPECT_EQ(claim.Next().op, Op::kPreemptAndAbort);
  EXPECT_EQ(claim.Next().other, kOld);
  claim.OnAnswer(Good(), {});
  claim.OnAnswer(Read({kLeftOver, kMine}, kMine), {});
  EXPECT_EQ(claim.Next().other, kLeftOver);
  claim.OnAnswer(Good(), {});
  claim.OnAnswer(Read({kMine}, kMine), {});
  EXPECT_EQ(claim.phase(), Phase::kHeld);
  EXPECT_TRUE(claim.saw_other_node());
}

TEST(StorageClaim, PreemptSaidGoodButKeyIsThere_PreemptsAgain) {
  StorageClaim claim = Registered();
  claim.OnAnswer(Read({kOld, kMine}, kOld), {});
  claim.OnAnswer(Good(), {});
  claim.OnAnswer(Read({kOld, kMine}, kOld), {});
  EXPECT_EQ(claim.Next().op, Op::kPreemptAndAbort);
}

TEST(StorageClaim, ReadUnknown_ReadsAgain) {
  StorageClaim claim = Registered();
  claim.OnAnswer({}, {});
  EXPECT_EQ(claim.Next().op, Op::kRead);
}

TEST(StorageClaim, OwnKeyGone_RegistersAgainWhileClaiming) {
  StorageClaim claim = Registered();
  claim.OnAnswer(Read({kOld}, kOld), {});
  EXPECT_EQ(claim.Next().op, Op::kRegister);
}

TEST(StorageClaim, KeyOfALaterOrEqualEpoch_IsRefusedForEver) {
  for (const StorageKey later : {StorageKey{1, {1, 6}}, StorageKey{1, {1, 5}}}) {
    StorageClaim claim = Registered();
    claim.OnAnswer(Read({later, kMine}, later), {});
    EXPECT_EQ(claim.phase(), Phase::kRefused);
    EXPECT_EQ(claim.Next().op, Op::kNone);
  }
}

TEST(StorageClaim, OnlyOwnEarlierKey_NobodyElseHadIt) {
  StorageClaim claim = Registered();
  claim.OnAnswer(Read({{2, {1, 4}}, kMine}, {2, {1, 4}}), {});
  EXPECT_EQ(claim.Next().op, Op::kPreemptAndAbort);
  EXPECT_FALSE(claim.saw_other_node());
}

}  // namespace
}  // namespace gemel::cluster
