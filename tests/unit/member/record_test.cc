#include "member/record.h"

#include <gtest/gtest.h>

namespace gemel::member {
namespace {

using cluster::Role;

Record Make(std::string name, Role role, cluster::NodeId node) {
  Record record;
  record.name = std::move(name);
  record.role = role;
  record.node = node;
  record.address = "10.0.0." + record.name;
  record.machine = "machine of " + record.name;
  return record;
}

TEST(RecordTest, WhatIsEncoded_IsDecoded) {
  Record record = Make("b", Role::kWitness, 0);
  record.version = "0.1.0";
  record.member_id = ~0ULL;
  record.left = true;
  record.changed = 7;
  const auto read = DecodeRecords({{RecordKey("b"), EncodeRecord(record), 7}});
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, std::vector<Record>{record});
}

TEST(RecordTest, WhatCannotBeRead_IsAnError) {
  EXPECT_FALSE(DecodeRecords({{RecordKey("b"), "rubbish", 7}}));
  EXPECT_FALSE(DecodeRecords({{RecordKey("b"), "\x08\x02", 7}}));  // format 2
}

TEST(RecordTest, Numbers_AreNeverGivenTwice) {
  Record gone = Make("b", Role::kNode, 2);
  gone.left = true;
  EXPECT_EQ(NextNode({}), 1U);
  EXPECT_EQ(NextNode({Make("a", Role::kNode, 1), gone}), 3U);
  EXPECT_FALSE(NextNode({Make("a", Role::kNode, 255)}));
}

TEST(RecordTest, WhatClashes_IsRefused) {
  const std::vector<Record> there = {Make("a", Role::kNode, 1), Make("w", Role::kWitness, 0)};
  EXPECT_TRUE(CheckJoin(Make("b", Role::kNode, 0), there));
  EXPECT_EQ(CheckJoin(Make("a", Role::kNode, 0), there).error().code, Code::kAlreadyExists);
  Record same = Make("b", Role::kNode, 0);
  same.address = there[0].address;
  EXPECT_EQ(CheckJoin(same, there).error().code, Code::kAlreadyExists);
  same = Make("b", Role::kNode, 0);
  same.machine = there[0].machine;
  EXPECT_EQ(CheckJoin(same, there).error().code, Code::kFailedPrecondition);
  same.machine = there[1].machine;  // the witness's
  EXPECT_FALSE(CheckJoin(same, there));
  EXPECT_FALSE(CheckJoin(Make("v", Role::kWitness, 0), there));
}

TEST(RecordTest, WhoLeft_IsInNobodysWay) {
  std::vector<Record> there = {Make("a", Role::kNode, 1), Make("b", Role::kNode, 2),
                               Make("w", Role::kWitness, 0)};
  there[1].left = there[2].left = true;
  EXPECT_TRUE(CheckJoin(Make("b", Role::kNode, 0), there));
  EXPECT_TRUE(CheckJoin(Make("w", Role::kWitness, 0), there));
}

TEST(RecordTest, NeighbouringVersions_Match) {
  EXPECT_TRUE(CheckVersions("0.1.0", "0.1.7"));
  EXPECT_TRUE(CheckVersions("0.1.0", "0.2.0"));
  EXPECT_FALSE(CheckVersions("0.1.0", "0.3.0"));
  EXPECT_FALSE(CheckVersions("1.0.0", "0.1.0"));
  EXPECT_FALSE(CheckVersions("new", "0.1.0"));
}

}  // namespace
}  // namespace gemel::member
