#include "block/iscsi/reservation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "base/load_be.h"

namespace gemel::block {
namespace {

using Op = ReservationCommand::Op;
using Result = ReservationAnswer::Result;

constexpr ReservationKey kMine = 0x6d01'0001'0000'0002;
constexpr ReservationKey kOther = 0x6d02'0001'0000'0001;
constexpr ScsiOutcome kGood{};
constexpr ScsiOutcome kConflict{.status = ScsiStatus::kReservationConflict};
constexpr ScsiOutcome kRefused{.status = ScsiStatus::kCheckCondition,
                               .key = SenseKey::kIllegalRequest,
                               .code = kInvalidFieldInCdb};
constexpr ScsiOutcome kAttention{
    .status = ScsiStatus::kCheckCondition, .key = SenseKey::kUnitAttention, .code = 0x2900};

// The service action of what the run wants; 0x50 for a reset.
unsigned Wanted(const ReservationRun& run) {
  if (run.wants() == ReservationRun::Wants::kReset) return 0x50;
  return unsigned{run.command().cdb[0]} << 8 | run.command().cdb[1];
}
constexpr unsigned kRegister = 0x5f00, kReserve = 0x5f01, kPreempt = 0x5f04, kPreemptAbort = 0x5f05,
                   kReset = 0x50, kKeys = 0x5e00, kReservation = 0x5e01;

void Put(const ReservationRun& run, std::vector<std::uint64_t> words) {
  std::vector<std::byte> data(run.command().bytes);
  for (std::size_t i = 0; i < words.size(); ++i) StoreBe(std::span(data), 8 * i, words[i]);
  std::ranges::copy(data, static_cast<std::byte*>(run.command().iov[0].iov_base));
}
// Generation 7; the words of READ KEYS and READ RESERVATION.
std::uint64_t Head(std::uint32_t bytes, std::uint64_t generation = 7) {
  return generation << 32 | bytes;
}
constexpr std::uint64_t kExclusiveType = 0x0000'0000'0003'0000;

ReservationTraits Full() { return {.aborts = true}; }
ReservationTraits Weaker() { return {.aborts = false}; }

TEST(ReservationTest, Register_SendsTheKeyAndAsksToPersist) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kRegister, kMine, 0}, &traits);

  ASSERT_EQ(Wanted(run), kRegister);
  const std::span data(static_cast<const std::byte*>(run.command().iov[0].iov_base), 24);
  EXPECT_EQ(LoadBe64(data, 0), 0u);
  EXPECT_EQ(LoadBe64(data, 8), kMine);
  EXPECT_EQ(data[20], std::byte{1});
  run.OnOutcome(kGood);
  EXPECT_EQ(run.answer().result, Result::kGood);
}

TEST(ReservationTest, TargetWithoutPersistence_IsAskedWithoutIt) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kRegister, kMine, 0}, &traits);
  run.OnOutcome(kRefused);

  ASSERT_EQ(Wanted(run), kRegister);
  EXPECT_EQ(static_cast<const std::byte*>(run.command().iov[0].iov_base)[20], std::byte{0});
  EXPECT_FALSE(traits.persist);
}

TEST(ReservationTest, FirstRegister_FindsOutWhetherTheTargetAborts) {
  ReservationTraits full, weaker;
  ReservationRun a({Op::kRegister, kMine, 0}, &full);
  ReservationRun b({Op::kRegister, kMine, 0}, &weaker);
  a.OnOutcome(kGood);
  b.OnOutcome(kGood);
  ASSERT_EQ(Wanted(a), kPreemptAbort);
  a.OnOutcome(kConflict);  // knows the command, not the key
  b.OnOutcome(kRefused);

  EXPECT_EQ(full.aborts, true);
  EXPECT_EQ(weaker.aborts, false);
  EXPECT_EQ(a.answer().result, Result::kGood);
  EXPECT_EQ(b.answer().result, Result::kGood);
}

TEST(ReservationTest, Attentions_AreTakenAndTheCommandSentAgain) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kReserve, kMine, 0}, &traits);
  for (int i = 0; i < 3; ++i) {
    run.OnOutcome(kAttention);
    ASSERT_EQ(Wanted(run), kReserve);
  }
  run.OnOutcome(kGood);
  EXPECT_EQ(run.answer().result, Result::kGood);
}

TEST(ReservationTest, AttentionsWithoutEnd_AreUnknown) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kReserve, kMine, 0}, &traits);
  for (int i = 0; i < 100 && run.wants() != ReservationRun::Wants::kNothing; ++i)
    run.OnOutcome(kAttention);

  EXPECT_EQ(run.answer().result, Result::kUnknown);
}

TEST(ReservationTest, Read_TellsKeysAndHolder) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kRead, kMine, 0}, &traits);
  ASSERT_EQ(Wanted(run), kKeys);
  Put(run, {Head(24), kOther, kMine, kOther});
  run.OnOutcome(kGood);
  ASSERT_EQ(Wanted(run), kReservation);
  Put(run, {Head(16), kOther, kExclusiveType});
  run.OnOutcome(kGood);

  EXPECT_EQ(run.answer().result, Result::kGood);
  EXPECT_EQ(run.answer().keys, (std::vector{kOther, kMine}));
  EXPECT_EQ(run.answer().holder, kOther);
}

TEST(ReservationTest, KeysThatChangeWhileTheyAreRead_AreUnknown) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kRead, kMine, 0}, &traits);
  Put(run, {Head(8, 7), kMine});
  run.OnOutcome(kGood);
  Put(run, {Head(0, 8)});
  run.OnOutcome(kGood);

  EXPECT_EQ(run.answer().result, Result::kUnknown);
}

TEST(ReservationTest, OurReservationOfAnotherType_IsUnknown) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kRead, kMine, 0}, &traits);
  Put(run, {Head(8), kMine});
  run.OnOutcome(kGood);
  Put(run, {Head(16), kMine, 0x0000'0000'0005'0000});
  run.OnOutcome(kGood);

  EXPECT_EQ(run.answer().result, Result::kUnknown);
}

TEST(ReservationTest, AnswersThatAreShorterThanTheySay_AreUnknown) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kRead, kMine, 0}, &traits);
  Put(run, {Head(8), kMine});
  ScsiOutcome cut;
  cut.missing = run.command().bytes - 12;
  run.OnOutcome(cut);

  EXPECT_EQ(run.answer().result, Result::kUnknown);
}

TEST(ReservationTest, NoAnswer_IsUnknown) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kPreemptAndAbort, kMine, kOther}, &traits);
  run.OnOutcome({.lost = true});

  EXPECT_EQ(run.answer().result, Result::kUnknown);
}

TEST(ReservationTest, Preempt_NamesBothKeysAndTheType) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kPreemptAndAbort, kMine, kOther}, &traits);

  ASSERT_EQ(Wanted(run), kPreemptAbort);
  EXPECT_EQ(run.command().cdb[2], 0x03);
  const std::span data(static_cast<const std::byte*>(run.command().iov[0].iov_base), 24);
  EXPECT_EQ(LoadBe64(data, 0), kMine);
  EXPECT_EQ(LoadBe64(data, 8), kOther);
}

TEST(ReservationTest, WeakerTarget_PreemptsAndThenResets) {
  ReservationTraits traits = Weaker();
  ReservationRun run({Op::kPreemptAndAbort, kMine, kOther}, &traits);
  ASSERT_EQ(Wanted(run), kPreempt);
  run.OnOutcome(kGood);
  ASSERT_EQ(Wanted(run), kReset);
  run.OnOutcome(kGood);

  EXPECT_EQ(run.answer().result, Result::kGood);
  EXPECT_FALSE(traits.reset_owed);
}

// An interrupted take-over may have preempted and never reset: what it finds done proves nothing.
TEST(ReservationTest, WeakerTarget_IsResetBeforeTheFirstReadIsAnswered) {
  ReservationTraits traits = Weaker();
  ReservationRun first({Op::kRead, kMine, 0}, &traits);
  ASSERT_EQ(Wanted(first), kReset);
  first.OnOutcome(kGood);
  EXPECT_EQ(Wanted(first), kKeys);
  ReservationRun second({Op::kRead, kMine, 0}, &traits);
  EXPECT_EQ(Wanted(second), kKeys);
}

TEST(ReservationTest, WeakerTargetWhoseResetIsUnknown_OwesItBeforeTheNextRead) {
  ReservationTraits traits = Weaker();
  traits.reset_owed = false;
  ReservationRun preempt({Op::kPreemptAndAbort, kMine, kOther}, &traits);
  preempt.OnOutcome(kGood);
  preempt.OnOutcome({.lost = true});
  ReservationRun read({Op::kRead, kMine, 0}, &traits);

  EXPECT_EQ(Wanted(read), kReset);
}

TEST(ReservationTest, TargetThatDoesNotReset_AnswersNoRead) {
  ReservationTraits traits = Weaker();
  ReservationRun run({Op::kRead, kMine, 0}, &traits);
  run.OnOutcome(kRefused);

  EXPECT_EQ(run.wants(), ReservationRun::Wants::kNothing);
  EXPECT_EQ(run.answer().result, Result::kUnknown);
}

TEST(ReservationTest, TargetThatRefusesToAbortInTheEnd_IsTreatedAsWeaker) {
  ReservationTraits traits = Full();
  ReservationRun run({Op::kPreemptAndAbort, kMine, kOther}, &traits);
  run.OnOutcome(kRefused);

  EXPECT_EQ(Wanted(run), kPreempt);
  EXPECT_EQ(traits.aborts, false);
}

TEST(ReservationTest, KeysThatDoNotFit_AreNoAnswer) {
  std::vector<std::byte> data(16);
  StoreBe(std::span(data), 4, std::uint32_t{16});
  EXPECT_FALSE(ParseKeys(data));
  StoreBe(std::span(data), 4, std::uint32_t{7});
  EXPECT_FALSE(ParseKeys(data));
  StoreBe(std::span(data), 4, ~std::uint32_t{7});
  EXPECT_FALSE(ParseKeys(data));
}

TEST(ReservationTest, Capabilities_SayPersistenceAndType) {
  std::vector<std::byte> data(8);
  StoreBe(std::span(data), 0, std::uint16_t{8});
  data[2] = std::byte{0x01};
  data[3] = std::byte{0x80};
  EXPECT_TRUE(ParseCapabilities(data)->persists);
  EXPECT_FALSE(ParseCapabilities(data)->exclusive);
  data[4] = std::byte{0x08};
  EXPECT_TRUE(ParseCapabilities(data)->exclusive);
  EXPECT_FALSE(ParseCapabilities(std::span(data).first(7)));
}

}  // namespace
}  // namespace gemel::block
