#include "storage/claim_driver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace gemel::storage {
namespace {

using block::ReservationAnswer;
using block::ReservationCommand;
using block::ReservationKey;
using cluster::StorageAnswer;
using cluster::StorageClaim;
using cluster::StorageCommand;
using cluster::StorageKey;
using Op = ReservationCommand::Op;
using Result = ReservationAnswer::Result;

constexpr StorageKey kMine{1, {1, 7}};
constexpr StorageKey kOld{2, {1, 6}};
constexpr StorageKey kOlder{1, {1, 5}};

ReservationKey Bytes(const StorageKey& key) { return cluster::EncodeStorageKey(key); }

// A disk with Exclusive Access reservations, whose nexus is the one of `mine`.
class FakeDisk : public ReservationPort {
 public:
  std::vector<ReservationKey> keys;
  ReservationKey holder = 0;
  bool silent = false;
  int preempted = 0;

  void Reserve(const ReservationCommand& command, Done done) override {
    ReservationAnswer answer;
    if (silent) {
      answer.note = "no answer";
      return done(std::move(answer));
    }
    answer.result = Carry(command) ? Result::kGood : Result::kConflict;
    if (command.op == Op::kRead) {
      answer.keys = keys;
      answer.holder = holder;
    }
    done(std::move(answer));
  }

 private:
  bool Has(ReservationKey key) const { return std::ranges::find(keys, key) != keys.end(); }
  bool Carry(const ReservationCommand& command) {
    if (command.op == Op::kRead) return true;
    if (command.op == Op::kRegister) {
      if (!Has(command.mine)) keys.push_back(command.mine);
      return true;
    }
    if (!Has(command.mine)) return false;
    if (command.op == Op::kReserve) {
      if (holder == 0) holder = command.mine;
      return holder == command.mine;
    }
    if (!Has(command.other)) return false;
    ++preempted;
    std::erase(keys, command.other);
    if (holder == command.other) holder = command.mine;
    return true;
  }
};

struct Told {
  StorageAnswer answer;
  std::string note;
};

Told Ask(ClaimDriver& driver, StorageCommand::Op op, const StorageKey& other = {}) {
  std::optional<Told> told;
  driver.Execute({op, kMine, other}, [&](const StorageAnswer& answer, const std::string& note) {
    told = Told{answer, note};
  });
  return told.value();
}

StorageClaim Claim(ClaimDriver& driver) {
  StorageClaim claim(kMine);
  const cluster::Rules rules;
  for (int i = 0; i < 100 && claim.Next().op != StorageCommand::Op::kNone; ++i)
    driver.Execute(claim.Next(), [&](const StorageAnswer& answer, const std::string&) {
      claim.OnAnswer(answer, rules);
    });
  return claim;
}

TEST(ClaimDriverTest, FreshDisks_AreHeldInTheEnd) {
  FakeDisk a, b;
  ClaimDriver driver({&a, &b});

  EXPECT_EQ(Claim(driver).phase(), StorageClaim::Phase::kHeld);
  EXPECT_EQ(a.holder, Bytes(kMine));
  EXPECT_EQ(b.holder, Bytes(kMine));
}

TEST(ClaimDriverTest, KeysOfOthersOnAnyDisk_ArePreemptedThere) {
  FakeDisk a, b;
  a.keys = {Bytes(kOlder), Bytes(kOld)};
  a.holder = Bytes(kOld);
  b.keys = {Bytes(kOld)};
  ClaimDriver driver({&a, &b});

  EXPECT_EQ(Claim(driver).phase(), StorageClaim::Phase::kHeld);
  EXPECT_EQ(a.keys, std::vector{Bytes(kMine)});
  EXPECT_EQ(b.keys, std::vector{Bytes(kMine)});
  EXPECT_EQ(a.preempted, 2);
  EXPECT_EQ(b.preempted, 1);
}

TEST(ClaimDriverTest, LaterKeyOnOneDisk_IsRefused) {
  FakeDisk a, b;
  b.keys = {Bytes({2, {1, 8}})};
  ClaimDriver driver({&a, &b});

  EXPECT_EQ(Claim(driver).phase(), StorageClaim::Phase::kRefused);
}

TEST(ClaimDriverTest, OneSilentDisk_MakesEverythingUnknown) {
  FakeDisk a, b;
  ClaimDriver driver({&a, &b});
  b.silent = true;

  EXPECT_EQ(Ask(driver, StorageCommand::Op::kRead).answer.result, StorageAnswer::Result::kUnknown);
  EXPECT_EQ(Ask(driver, StorageCommand::Op::kRead).note, "no answer");
  EXPECT_NE(Claim(driver).phase(), StorageClaim::Phase::kHeld);
}

TEST(ClaimDriverTest, OurKeyOnOneDiskAlone_IsNotRegistered) {
  FakeDisk a, b;
  a.keys = {Bytes(kMine)};
  a.holder = Bytes(kMine);
  ClaimDriver driver({&a, &b});
  const Told told = Ask(driver, StorageCommand::Op::kRead);

  EXPECT_EQ(told.answer.result, StorageAnswer::Result::kGood);
  EXPECT_EQ(told.answer.key_count, 0u);
  EXPECT_EQ(told.answer.holder, StorageKey{});
}

TEST(ClaimDriverTest, KeyOfAnotherProgram_IsUnknownAndNamed) {
  FakeDisk a;
  a.keys = {0x1234};
  ClaimDriver driver({&a});
  const Told told = Ask(driver, StorageCommand::Op::kRead);

  EXPECT_EQ(told.answer.result, StorageAnswer::Result::kUnknown);
  EXPECT_NE(told.note.find("0x0000000000001234"), std::string::npos);
}

TEST(ClaimDriverTest, MoreKeysThanThereIsRoomFor_AreUnknown) {
  FakeDisk a;
  for (std::uint64_t i = 1; i <= StorageAnswer::kMaxKeys + 1; ++i)
    a.keys.push_back(Bytes({2, {1, i}}));
  ClaimDriver driver({&a});

  EXPECT_EQ(Ask(driver, StorageCommand::Op::kRead).answer.result, StorageAnswer::Result::kUnknown);
}

TEST(ClaimDriverTest, ConflictOfOneDisk_IsTheConflictOfAll) {
  FakeDisk a, b;
  a.keys = b.keys = {Bytes(kMine)};
  b.holder = Bytes(kOld);
  ClaimDriver driver({&a, &b});

  EXPECT_EQ(Ask(driver, StorageCommand::Op::kReserve).answer.result,
            StorageAnswer::Result::kConflict);
}

TEST(ClaimDriverTest, EpochThatNoKeyCanSay_IsUnknown) {
  FakeDisk a;
  ClaimDriver driver({&a});
  StorageAnswer answer{StorageAnswer::Result::kGood, {}, 0, {}};
  driver.Execute({StorageCommand::Op::kRegister, {1, {1u << 20, 1}}, {}},
                 [&](const StorageAnswer& told, const std::string&) { answer = told; });

  EXPECT_EQ(answer.result, StorageAnswer::Result::kUnknown);
  EXPECT_TRUE(a.keys.empty());
}

}  // namespace
}  // namespace gemel::storage
