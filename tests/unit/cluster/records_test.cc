#include "cluster/records.h"

#include <gtest/gtest.h>

#include "cluster/timing.h"

namespace gemel::cluster {
namespace {

TEST(StorageKey, EncodedAndDecoded_IsTheSame) {
  const StorageKey key{2, {3, 70'000}};
  EXPECT_EQ(EncodeStorageKey(key), 0x6D02'0003'0001'1170U);
  EXPECT_EQ(DecodeStorageKey(EncodeStorageKey(key)), key);
}

TEST(StorageKey, DoesNotFit_NoKey) {
  EXPECT_EQ(EncodeStorageKey({0, {1, 1}}), 0U);
  EXPECT_EQ(EncodeStorageKey({256, {1, 1}}), 0U);
  EXPECT_EQ(EncodeStorageKey({1, {0x1'0000, 1}}), 0U);
  EXPECT_EQ(EncodeStorageKey({1, {1, 0x1'0000'0000}}), 0U);
}

TEST(StorageKey, OfSomebodyElse_NobodysNode) { EXPECT_EQ(DecodeStorageKey(0x1234), StorageKey{}); }

TEST(StorageKey, HigherIncarnation_IsAboveEveryCounter) {
  EXPECT_LT((Epoch{1, 1000}), (Epoch{2, 1}));
}

TEST(ProvesOver, OpenSession_IsNotOver) {
  EXPECT_FALSE(ProvesOver({{1, 5}, SessionState::kOpen}, {1, 5}));
  EXPECT_FALSE(ProvesOver({{1, 4}, SessionState::kFenced}, {1, 5}));
}

TEST(ProvesOver, FencedClosedOrFollowed_IsOver) {
  EXPECT_TRUE(ProvesOver({{1, 5}, SessionState::kFenced}, {1, 5}));
  EXPECT_TRUE(ProvesOver({{1, 5}, SessionState::kClosed}, {1, 5}));
  EXPECT_TRUE(ProvesOver({{1, 6}, SessionState::kOpen}, {1, 5}));
  EXPECT_TRUE(ProvesOver({{2, 1}, SessionState::kOpen}, {1, 5}));
}

TEST(LastIssuer, WhileFencing_IsTheOneBefore) {
  Ownership record{2, {1, 7}, {1, 4}, VmState::kFencing, 0, {1, {1, 3}, {1, 3}}};
  EXPECT_EQ(LastIssuer(record), (Issuer{1, {1, 3}, {1, 3}}));
  record.state = VmState::kStarting;
  EXPECT_EQ(LastIssuer(record), (Issuer{2, {1, 7}, {1, 4}}));
}

TEST(Timing, Defaults_LetTheOwnerEndFirst) {
  EXPECT_TRUE(OwnerEndsFirst({}));
  Timing timing;
  timing.wait = {3'200'000};
  EXPECT_FALSE(OwnerEndsFirst(timing));
}

}  // namespace
}  // namespace gemel::cluster
