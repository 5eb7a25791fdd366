#include "etcd/codec.h"

#include <gtest/gtest.h>

#include "etcd/override.h"

namespace gemel::etcd {
namespace {

using cluster::Key;
using cluster::KeyKind;
using cluster::Ownership;
using cluster::SessionRecord;
using cluster::SessionState;
using cluster::Txn;
using cluster::VmState;

Ownership TakenOver() {
  Ownership record;
  record.owner = 2;
  record.session = {3, 9};
  record.epoch = {3, 5};
  record.state = VmState::kFencing;
  record.reserved_for = 1;
  record.last = {1, {3, 4}, {3, 4}};
  return record;
}

bool Within(const KeyRange& range, const std::string& key) {
  return key >= range.first && key < range.end;
}

TEST(KeyTest, EachKind_ComesBack) {
  EXPECT_EQ(DecodeKey(EncodeKey({KeyKind::kIncarnation, 0})), (Key{KeyKind::kIncarnation, 0}));
  EXPECT_EQ(DecodeKey(EncodeKey({KeyKind::kSession, 1})), (Key{KeyKind::kSession, 1}));
  EXPECT_EQ(DecodeKey(EncodeKey({KeyKind::kBeat, 2})), (Key{KeyKind::kBeat, 2}));
  EXPECT_EQ(DecodeKey(EncodeKey({KeyKind::kVm, 4294967295U})), (Key{KeyKind::kVm, 4294967295U}));
}

TEST(KeyTest, NotOneOfOurs_IsNone) {
  EXPECT_EQ(DecodeKey(""), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/nodes/session/"), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/nodes/session/0"), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/nodes/session/01"), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/nodes/session/-1"), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/nodes/session/1x"), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/vms/4294967296"), std::nullopt);
  EXPECT_EQ(DecodeKey("/gemel/later/1"), std::nullopt);
}

TEST(KeyTest, Scope_HasTheKeysOfItsKind) {
  EXPECT_TRUE(Within(RangeOf(Scope::kNodes), EncodeKey({KeyKind::kIncarnation, 0})));
  EXPECT_TRUE(Within(RangeOf(Scope::kNodes), EncodeKey({KeyKind::kSession, 4294967295U})));
  EXPECT_TRUE(Within(RangeOf(Scope::kNodes), EncodeKey({KeyKind::kBeat, 1})));
  EXPECT_FALSE(Within(RangeOf(Scope::kNodes), EncodeKey({KeyKind::kVm, 1})));
  EXPECT_TRUE(Within(RangeOf(Scope::kAll), EncodeKey({KeyKind::kVm, 1})));
  EXPECT_TRUE(Within(RangeOf(Scope::kAll), EncodeKey({KeyKind::kSession, 1})));
}

TEST(RecordTest, Written_ComesBack) {
  const SessionRecord session{{3, 9}, SessionState::kFenced};
  EXPECT_EQ(DecodeIncarnation(EncodeIncarnation(7)).value(), 7U);
  EXPECT_EQ(DecodeSession(EncodeSession(session)).value(), session);
  EXPECT_EQ(DecodeBeat(EncodeBeat(0)).value(), 0U);
  EXPECT_EQ(DecodeOwnership(EncodeOwnership(TakenOver())).value(), TakenOver());
}

TEST(RecordTest, ProofThatANodeIsOff_ComesBackAndIsOfAFencedSession) {
  const SessionRecord off{{3, 9}, SessionState::kFenced, cluster::OffBy::kAgent};
  EXPECT_EQ(DecodeSession(EncodeSession(off)).value(), off);
  const SessionRecord lives{{3, 9}, SessionState::kOpen, cluster::OffBy::kPerson};
  EXPECT_FALSE(DecodeSession(EncodeSession(lives)));
  const SessionRecord unknown{{3, 9}, SessionState::kFenced, static_cast<cluster::OffBy>(3)};
  EXPECT_FALSE(DecodeSession(EncodeSession(unknown)));
}

TEST(OverrideTest, Written_ComesBackInItsRange) {
  const Override said{1'700'000'000, "b is off"};
  const KvTxn::Put put = OverridePut(said, "b");
  EXPECT_TRUE(Within(OverrideRange(), put.key));
  EXPECT_EQ(DecodeOverride(put.value).value(), said);
  EXPECT_FALSE(DecodeOverride(""));
  EXPECT_FALSE(DecodeOverride("nonsense"));
}

TEST(RecordTest, Free_ComesBack) {
  Ownership record;
  record.epoch = {1, 3};
  record.reserved_for = 2;
  EXPECT_EQ(DecodeOwnership(EncodeOwnership(record)).value(), record);
}

TEST(RecordTest, OfAnotherKind_IsRefused) {
  EXPECT_FALSE(DecodeSession(EncodeBeat(1)));
  EXPECT_FALSE(DecodeOwnership(EncodeSession({{1, 1}, SessionState::kOpen})));
  EXPECT_FALSE(DecodeIncarnation(""));
}

TEST(RecordTest, OfALaterFormat_IsRefusedAsSuch) {
  std::string later = EncodeBeat(1);
  ASSERT_EQ(later[0], '\x08');  // field 1, a number
  later[1] = 2;
  const auto decoded = DecodeBeat(later);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Code::kUnimplemented);
}

TEST(RecordTest, Garbage_IsRefused) {
  EXPECT_FALSE(DecodeSession("\xff\xff"));
  EXPECT_FALSE(DecodeOwnership(std::string(1 << 20, '\0')));
}

TEST(RecordTest, WhatCannotBe_IsRefused) {
  Ownership nobody = TakenOver();
  nobody.owner = 0;
  Ownership freed = TakenOver();
  freed.state = VmState::kFree;
  Ownership timeless = TakenOver();
  timeless.epoch = {};
  EXPECT_FALSE(DecodeOwnership(EncodeOwnership(nobody)));
  EXPECT_FALSE(DecodeOwnership(EncodeOwnership(freed)));
  EXPECT_FALSE(DecodeOwnership(EncodeOwnership(timeless)));
  EXPECT_FALSE(DecodeSession(EncodeSession({{0, 1}, SessionState::kOpen})));
  EXPECT_FALSE(DecodeSession(EncodeSession({{1, 0}, SessionState::kOpen})));
  EXPECT_FALSE(DecodeIncarnation(EncodeIncarnation(0)));
}

TEST(TxnTest, OpeningASession_PutsItAndItsFirstBeat) {
  Txn txn;
  txn.If(KeyKind::kSession, 1, {0});
  txn.If(KeyKind::kIncarnation, 0, {17});
  txn.put = Txn::Put::kSessionAndBeat;
  txn.put_id = 1;
  txn.session = {{3, 9}, SessionState::kOpen};
  const KvTxn encoded = EncodeTxn(txn);
  EXPECT_EQ(encoded.compares, (std::vector<KvTxn::Compare>{{"/gemel/nodes/session/1", 0},
                                                           {"/gemel/nodes/incarnation", 17}}));
  ASSERT_EQ(encoded.puts.size(), 2U);
  EXPECT_EQ(encoded.puts[0].key, "/gemel/nodes/session/1");
  EXPECT_EQ(DecodeSession(encoded.puts[0].value).value(), txn.session);
  EXPECT_EQ(encoded.puts[1].key, "/gemel/nodes/beat/1");
}

TEST(TxnTest, Beat_PutsNothingElse) {
  Txn txn;
  txn.put = Txn::Put::kBeat;
  txn.put_id = 2;
  txn.beat = 8;
  EXPECT_EQ(EncodeTxn(txn).puts, (std::vector<KvTxn::Put>{{"/gemel/nodes/beat/2", EncodeBeat(8)}}));
}

TEST(TxnTest, Ownership_IsPutUnderItsMachine) {
  Txn txn;
  txn.put = Txn::Put::kVm;
  txn.put_id = 12;
  txn.vm = TakenOver();
  EXPECT_EQ(EncodeTxn(txn).puts,
            (std::vector<KvTxn::Put>{{"/gemel/vms/12", EncodeOwnership(TakenOver())}}));
}

}  // namespace
}  // namespace gemel::etcd
