// Each rule that is taken away is missed: the explorer finds what breaks, and prints how.
// A mutation that survives is a rule nobody needs, or an explorer that sees nothing.
#include <gtest/gtest.h>

#include "tests/explorer/scenarios.h"

namespace gemel::explorer {
namespace {

Config Make(const char* name, std::uint8_t faults, std::uint64_t allowed) {
  Config config;
  config.name = name;
  config.faults = faults;
  config.allowed = allowed;
  config.check_liveness = false;
  return config;
}

void ExpectCaught(const Config& config, const char* how) {
  const Found found = Explore(config);
  EXPECT_NE(found.broken.find(how), std::string::npos) << "the mutation survived: " << found.broken;
}

void ExpectNotSeen(const Config& config) {
  const Found found = Explore(config);
  EXPECT_EQ(found.broken, "");
  EXPECT_TRUE(found.complete);
}

constexpr const char* kTwoIssuers = "may issue writes at once";
constexpr const char* kHeldWrite = "storage accepts a held write";

TEST(Mutation, NoLatch_TwoIssue) {
  Config config = Make("no latch", 1, kHostFaults);
  config.no_latch = true;
  ExpectCaught(config, kTwoIssuers);
}

TEST(Mutation, NoRevisionCompare_TwoIssue) {
  Config config = Make("no compare of the heartbeat's revision", 1, kHostFaults);
  config.rules.mutations.no_revision_compare = true;
  ExpectCaught(config, kTwoIssuers);
}

TEST(Mutation, NoPreemptVerification_HeldWriteAccepted) {
  Config config = Make("no verification of PREEMPT", 2, kHostFaults | Bit(Do::kLoseStorage));
  config.rules.mutations.no_preempt_verification = true;
  ExpectCaught(config, kHeldWrite);
}

TEST(Mutation, WaitShorterThanOwn_TwoIssue) {
  Config config = Make("T_wait below T_own", 1, kHostFaults);
  config.rules.timing.wait = {25};
  config.rates = {9, 11};
  ASSERT_FALSE(OwnerEndsFirst(config.rules.timing));
  ExpectCaught(config, kTwoIssuers);
}

TEST(Mutation, CreditFromReceipt_TwoIssue) {
  Config config = Make("credit from the answer's receipt", 2, Bits({Do::kCut, Do::kLateAnswer}));
  config.rules.mutations.credit_from_receipt = true;
  config.rates = {9, 11};
  ExpectCaught(config, kTwoIssuers);
}

TEST(Mutation, RegisterOnReconnect_HeldWriteAccepted) {
  Config config = Make("REGISTER on reconnect, any registrant may write", 1, kHostFaults);
  config.storage = StorageKind::kRegistrants;
  config.register_on_reconnect = true;
  ExpectCaught(config, kHeldWrite);
}

TEST(Mutation, DiskThatRefusesNobodyTakenOverWithoutProof_HeldWriteAccepted) {
  Config config = Make("no proof that the other is off, a plain file", 1, kHostFaults);
  config.storage = StorageKind::kMute;
  config.prove_off = true;
  config.ask_no_proof = true;
  ExpectCaught(config, kHeldWrite);
}

// Which layer it is that catches what.

TEST(Layers, RegistrantsStorageWithoutTheMutation_Refuses) {
  Config config = Make("any registrant may write, no mutation", 2, kHostFaults);
  config.storage = StorageKind::kRegistrants;
  ExpectNotSeen(config);
}

// The type of the reservation hides it: one who registers again is not the holder.
TEST(Layers, RegisterOnReconnectOnExclusiveAccess_RefusedByTheType) {
  Config config = Make("REGISTER on reconnect, exclusive access", 2, kHostFaults);
  config.register_on_reconnect = true;
  ExpectNotSeen(config);
}

// Two issue, but the disk takes writes of one: looking at what is accepted, these mutations vanish.
TEST(Layers, NoLatchOnExclusiveAccess_EveryWriteOfTheOldOwnerIsRefused) {
  Config config = Make("no latch, looking at the disk alone", 2, kHostFaults);
  config.no_latch = true;
  config.only_storage_counts = true;
  ExpectNotSeen(config);
}

TEST(Layers, WaitShorterThanOwnOnExclusiveAccess_EveryWriteOfTheOldOwnerIsRefused) {
  Config config = Make("T_wait below T_own, looking at the disk alone", 2, kHostFaults);
  config.rules.timing.wait = {25};
  config.rates = {9, 11};
  config.only_storage_counts = true;
  ExpectNotSeen(config);
}

}  // namespace
}  // namespace gemel::explorer
