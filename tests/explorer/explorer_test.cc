// Every state that the stated faults can lead to keeps the promises of docs/FAILOVER.md.
#include <gtest/gtest.h>

#include "tests/explorer/scenarios.h"

namespace gemel::explorer {
namespace {

constexpr const char* kLeftOut = "left out by --quick: one of the longest runs of the explorer";

void ExpectKept(const Config& config) {
  const Found found = Explore(config);
  EXPECT_EQ(found.broken, "");
  EXPECT_TRUE(found.complete);
}

Config Make(const char* name, std::uint8_t faults, std::uint64_t allowed) {
  Config config;
  config.name = name;
  config.faults = faults;
  config.allowed = allowed;
  config.check_liveness = false;
  return config;
}

Config MakeOnPlainFile(const char* name, std::uint8_t faults, std::uint64_t allowed) {
  Config config = Make(name, faults, allowed);
  config.storage = StorageKind::kMute;
  config.prove_off = true;
  return config;
}

TEST(Explorer, EqualClocksAndAnyTwoFaults_PromisesKept) {
  ExpectKept(Make("two of most faults, equal clocks", 2, kMostFaults));
}

// ./check --long: nearest states first, as many as there is time and memory for.
TEST(Explorer, MoreFaultsWhenAsked_PromisesKept) {
  Config config = Make("deeper, A slow, B fast", Deeper(2), kMostFaults);
  if (config.faults == 2) GTEST_SKIP() << "GEMEL_EXPLORER_FAULTS is not set";
  config.rates = {9, 11};
  config.max_states = 40'000'000;
  EXPECT_EQ(Explore(config).broken, "");
}

TEST(Explorer, SlowOwnerFastChallengerAndAnyTwoFaults_PromisesKept) {
  if (Hurried()) GTEST_SKIP() << kLeftOut;
  Config config = Make("two of most faults, A slow, B fast", 2, kMostFaults);
  config.rates = {9, 11};
  ExpectKept(config);
}

TEST(Explorer, FastOwnerSlowChallengerAndAnyTwoFaults_PromisesKept) {
  if (Hurried()) GTEST_SKIP() << kLeftOut;
  Config config = Make("two of most faults, A fast, B slow", 2, kMostFaults);
  config.rates = {11, 9};
  ExpectKept(config);
}

TEST(Explorer, MajorityAfterHostFaults_MachineRunsAgain) {
  if (Hurried()) GTEST_SKIP() << kLeftOut;
  Config config = Make("life after two faults of hosts", 2, kHostFaults);
  config.check_liveness = true;
  ExpectKept(config);
}

TEST(Explorer, MajorityAfterAnyFault_MachineRunsAgain) {
  Config config = Make("life after one of most faults", 1, kMostFaults);
  config.check_liveness = true;
  config.rates = {9, 11};
  ExpectKept(config);
}

TEST(Explorer, ColdStart_PromisesKeptAndMachineRuns) {
  Config config = Make("cold start and one of most faults", 1, kMostFaults);
  config.running = false;
  config.check_liveness = true;
  ExpectKept(config);
}

TEST(Explorer, StaleMemberShowsThePast_PromisesKept) {
  if (Hurried()) GTEST_SKIP() << kLeftOut;
  ExpectKept(Make("a stale member, and a cut", 2, Bits({Do::kKeepPast, Do::kCut})));
}

TEST(Explorer, EtcdRestoredByTheBook_PromisesKeptAndMachineRuns) {
  Config config = Make("restore with a higher incarnation", 2, Bits({Do::kBackup, Do::kRestore}));
  config.check_liveness = true;
  ExpectKept(config);
}

TEST(Explorer, EtcdRevertedBehindOurBacks_StorageStillRefuses) {
  if (Hurried()) GTEST_SKIP() << kLeftOut;
  ExpectKept(
      Make("disks of etcd reverted, and a cut", 3, Bits({Do::kBackup, Do::kRevert, Do::kCut})));
}

TEST(Explorer, EveryOrderOfCallsAndViews_PromisesKept) {
  Config config = Make("views and calls in every order", 0, 0);
  config.fine = true;
  config.rates = {9, 11};
  ExpectKept(config);
}

// Nothing refuses here: the latch and T_wait alone must keep two from issuing.
TEST(Explorer, StorageThatAcceptsEverything_OneIssuesAtATime) {
  Config config = Make("accepting storage, two faults of hosts", 2, kHostFaults);
  config.storage = StorageKind::kAccepting;
  config.rates = {9, 11};
  ExpectKept(config);
}

// No disk refuses, and clocks may stand still: being proved off is what is left, and it is enough.
TEST(Explorer, DiskThatRefusesNobody_StartsOnlyWhereTheOtherIsOff) {
  Config config =
      MakeOnPlainFile("a plain file, two of hosts' faults", 2, kHostFaults | Bit(Do::kStopClock));
  config.rates = {9, 11};
  ExpectKept(config);
}

TEST(Explorer, DiskThatRefusesNobodyAndAnyFault_PromisesKeptAndMachineRuns) {
  Config config = MakeOnPlainFile("a plain file, life after one of most faults", 1, kMostFaults);
  config.check_liveness = true;
  ExpectKept(config);
}

TEST(Explorer, PersonSaysOffOfANodeThatIsNot_ItsHeldWriteIsAccepted) {
  const Found found =
      Explore(MakeOnPlainFile("a plain file, and a false word", 2, Bits({Do::kCut, Do::kLie})));
  EXPECT_NE(found.broken.find("storage accepts a held write"), std::string::npos) << found.broken;
}

// The silence that comes before it, and the latch, still keep two from issuing at once ...
TEST(Explorer, PersonSaysOffOfANodeThatIsNot_OneIssuesAtATime) {
  Config config = MakeOnPlainFile("two issuers after a false word", 2, kHostFaults | Bit(Do::kLie));
  config.storage = StorageKind::kAccepting;
  ExpectKept(config);
}

// ... as long as clocks run.
TEST(Explorer, PersonSaysOffOfANodeWhoseClockStands_TwoIssue) {
  Config config =
      MakeOnPlainFile("a false word, and a clock that stands", 2, Bits({Do::kStopClock, Do::kLie}));
  config.storage = StorageKind::kAccepting;
  EXPECT_NE(Explore(config).broken.find("may issue writes at once"), std::string::npos);
}

TEST(Explorer, FalseWordOnADiskThatRefuses_EveryWriteOfTheOldOwnerIsRefused) {
  Config config = MakeOnPlainFile("a false word, exclusive access", 2,
                                  Bits({Do::kStopClock, Do::kCut, Do::kLie}));
  config.storage = StorageKind::kExclusive;
  config.only_storage_counts = true;
  ExpectKept(config);
}

// docs/FAILOVER.md 'What is not promised': found here, so that nobody forgets.
TEST(Explorer, TargetThatForgetsReservations_AcceptsAHeldWrite) {
  Config config = Make("a target that forgets", 2, Bits({Do::kCrash, Do::kRestartStorage}));
  config.storage = StorageKind::kForgetful;
  EXPECT_NE(Explore(config).broken.find("storage accepts a held write"), std::string::npos);
}

}  // namespace
}  // namespace gemel::explorer
