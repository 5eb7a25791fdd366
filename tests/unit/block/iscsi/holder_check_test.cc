#include "block/iscsi/holder_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/load_be.h"

namespace gemel::block {
namespace {

using Verdict = HolderCheck::Verdict;

constexpr ReservationKey kMine = 0x6d01'0001'0000'0002;
constexpr ReservationKey kOther = 0x6d02'0001'0000'0003;
constexpr ScsiOutcome kGood{};
constexpr ScsiOutcome kConflict{.status = ScsiStatus::kReservationConflict};
constexpr ScsiOutcome kRefused{.status = ScsiStatus::kCheckCondition,
                               .key = SenseKey::kIllegalRequest,
                               .code = kInvalidFieldInCdb};

// A target, as far as a check asks it: its answers do not depend on who asks.
struct FakeTarget {
  bool aborts = true;
  std::vector<ReservationKey> keys{kMine};
  ReservationKey holder = kMine;
  bool registers = true;
  bool lost = false;
  std::vector<unsigned> asked{};

  ScsiOutcome Do(ReservationRun& run) {
    if (lost) return {.lost = true};
    if (run.wants() == ReservationRun::Wants::kReset) {
      asked.push_back(0x50);
      return kGood;
    }
    const unsigned what = unsigned{run.command().cdb[0]} << 8 | run.command().cdb[1];
    asked.push_back(what);
    switch (what) {
      case 0x5e00:
        Put(run, {8 * static_cast<std::uint32_t>(keys.size())}, keys);
        return kGood;
      case 0x5e01:
        if (holder == 0) {
          Put(run, {0}, {});
        } else {
          Put(run, {16}, {holder, 0x0000'0000'0003'0000});
        }
        return kGood;
      case 0x5f05:
        return aborts ? kConflict : kRefused;  // nobody's key
      case 0x5f04:
        return registers ? kGood : kConflict;
      default:
        return kGood;
    }
  }

  static void Put(const ReservationRun& run, std::vector<std::uint64_t> words,
                  const std::vector<std::uint64_t>& more) {
    words.insert(words.end(), more.begin(), more.end());
    std::vector<std::byte> data(run.command().bytes);
    for (std::size_t i = 0; i < words.size(); ++i) StoreBe(std::span(data), 8 * i, words[i]);
    std::ranges::copy(data, static_cast<std::byte*>(run.command().iov[0].iov_base));
  }
  bool Asked(unsigned what) const { return std::ranges::find(asked, what) != asked.end(); }
};
constexpr unsigned kRegister = 0x5f00, kPreempt = 0x5f04;

Verdict Check(FakeTarget& target, ReservationTraits& traits, bool taken = false) {
  HolderCheck check(kMine, taken, &traits);
  for (;;) {
    while (check.run().wants() != ReservationRun::Wants::kNothing)
      check.run().OnOutcome(target.Do(check.run()));
    const Verdict verdict = check.OnRunEnd();
    if (verdict != Verdict::kAgain) return verdict;
  }
}
Verdict Check(FakeTarget& target, bool taken = false) {
  ReservationTraits traits;
  return Check(target, traits, taken);
}

TEST(HolderCheck, FullTargetThatOursHolds_IsOursWithoutAnotherRegistration) {
  FakeTarget target;
  EXPECT_EQ(Check(target), Verdict::kMine);
  EXPECT_EQ(Check(target, true), Verdict::kMine);
  EXPECT_FALSE(target.Asked(kRegister));
}

// A later owner has registered, and not preempted us yet.
TEST(HolderCheck, FullTargetWithAnotherRegistered_IsOursWhileWeHoldIt) {
  FakeTarget target{.keys = {kMine, kOther}};
  EXPECT_EQ(Check(target), Verdict::kMine);
}

TEST(HolderCheck, ReservationOfAnotherOrOfNobody_IsOthers) {
  FakeTarget other{.keys = {kOther}, .holder = kOther}, nobody{.keys = {}, .holder = 0};
  EXPECT_EQ(Check(other), Verdict::kOthers);
  EXPECT_EQ(Check(nobody), Verdict::kOthers);
  nobody.aborts = other.aborts = false;
  EXPECT_EQ(Check(other), Verdict::kOthers);
  EXPECT_EQ(Check(nobody), Verdict::kOthers);
  EXPECT_FALSE(other.Asked(kRegister) || nobody.Asked(kRegister));
}

TEST(HolderCheck, WeakerTarget_IsTakenOverByThisSession) {
  FakeTarget target{.aborts = false};
  EXPECT_EQ(Check(target), Verdict::kMine);
  const auto at = [&](unsigned what) { return std::ranges::find(target.asked, what); };
  EXPECT_LT(at(kRegister), at(kPreempt));
  EXPECT_NE(at(kPreempt), target.asked.end());
}

TEST(HolderCheck, WeakerTargetWhoseSessionWasLost_IsOthersAndNothingIsRegistered) {
  FakeTarget target{.aborts = false};
  EXPECT_EQ(Check(target, true), Verdict::kOthers);
  EXPECT_FALSE(target.Asked(kRegister));
}

TEST(HolderCheck, WeakerTargetWithAnotherRegistered_IsOthersAndNothingIsRegistered) {
  FakeTarget target{.aborts = false, .keys = {kMine, kOther}};
  EXPECT_EQ(Check(target), Verdict::kOthers);
  EXPECT_FALSE(target.Asked(kRegister));
}

// Whoever preempted us between our REGISTER and our PREEMPT took the registration away.
TEST(HolderCheck, PreemptThatConflicts_IsOthers) {
  FakeTarget target{.aborts = false, .registers = false};
  EXPECT_EQ(Check(target), Verdict::kOthers);
}

TEST(HolderCheck, AnswerThatDoesNotCome_IsUnknown) {
  FakeTarget target{.lost = true};
  EXPECT_EQ(Check(target), Verdict::kUnknown);
}

TEST(FenceStrength, IsKnownOnceKeysWereRead) {
  ReservationTraits traits;
  EXPECT_EQ(StrengthOf(traits), FenceStrength::kNone);
  FakeTarget full, weaker{.aborts = false};
  EXPECT_EQ(Check(full, traits), Verdict::kMine);
  EXPECT_EQ(StrengthOf(traits), FenceStrength::kFull);
  traits.persist = false;
  EXPECT_EQ(StrengthOf(traits), FenceStrength::kWeaker);
  ReservationTraits other;
  EXPECT_EQ(Check(weaker, other), Verdict::kMine);
  EXPECT_EQ(StrengthOf(other), FenceStrength::kWeaker);
}

}  // namespace
}  // namespace gemel::block
