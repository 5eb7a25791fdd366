#include "grpc/filter.h"

#include <gtest/gtest.h>

#include "grpc/page.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::daemon {
namespace {

const std::vector<std::string_view> kPaths = {"name", "status.state", "labels.*", "spec.cpu.count",
                                              "spec.rng"};

v1::VirtualMachine Sample() {
  v1::VirtualMachine vm;
  vm.set_name("projects/p/vms/web");
  vm.mutable_status()->set_state(v1::VIRTUAL_MACHINE_STATE_RUNNING);
  (*vm.mutable_labels())["app"] = "web";
  vm.mutable_spec()->mutable_cpu()->set_count(4);
  return vm;
}

bool Matches(std::string_view text) {
  auto filter = Filter::Parse(text, v1::VirtualMachine::descriptor(), kPaths);
  EXPECT_TRUE(filter.has_value()) << text << ": " << filter.error().message();
  return filter && filter->Matches(Sample());
}

bool Refused(std::string_view text) {
  return !Filter::Parse(text, v1::VirtualMachine::descriptor(), kPaths).has_value();
}

TEST(FilterTest, EmptyFilter_MatchesEverything) { EXPECT_TRUE(Matches("")); }

TEST(FilterTest, Enum_IsItsWordWithOrWithoutPrefix) {
  EXPECT_TRUE(Matches("status.state = RUNNING"));
  EXPECT_TRUE(Matches("status.state=VIRTUAL_MACHINE_STATE_RUNNING"));
  EXPECT_FALSE(Matches("status.state = STOPPED"));
}

TEST(FilterTest, Numbers_Compare) {
  EXPECT_TRUE(Matches("spec.cpu.count >= 4"));
  EXPECT_FALSE(Matches("spec.cpu.count > 4"));
}

TEST(FilterTest, Labels_AreFoundByKey) {
  EXPECT_TRUE(Matches("labels.app = web"));
  EXPECT_TRUE(Matches("labels.app : *"));
  EXPECT_FALSE(Matches("labels.tier = web"));
  EXPECT_TRUE(Matches("labels.tier != web"));
}

TEST(FilterTest, Star_StandsForAnything) {
  EXPECT_TRUE(Matches("name = \"*/vms/w*\""));
  EXPECT_FALSE(Matches("name = w*"));
}

TEST(FilterTest, OrBindsTighterThanAnd) {
  EXPECT_TRUE(Matches("labels.app = db OR labels.app = web AND spec.cpu.count = 4"));
  EXPECT_FALSE(Matches("labels.app = web AND spec.cpu.count = 1 OR spec.cpu.count = 2"));
  EXPECT_TRUE(Matches("NOT (labels.app = db) spec.cpu.count = 4"));
}

TEST(FilterTest, WhatIsNotUnderstood_IsRefused) {
  for (const std::string_view text :
       {"name", "name =", "colour = red", "spec.cpu.count = four", "status.state = HAPPY",
        "(name = a", "name = a)", "name ~ a", "name = 'a", "AND", "etag = 1", "labels. = x"})
    EXPECT_TRUE(Refused(text)) << text;
}

TEST(FilterTest, DeepNesting_IsRefused) {
  EXPECT_TRUE(Refused(std::string(500, '(') + "name = a" + std::string(500, ')')));
}

TEST(PageTest, TokenOfThePage_IsTaken) {
  const auto page = ParsePage(10, MakePageToken("projects/p/vms/a", "query"), "query");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->after, "projects/p/vms/a");
}

TEST(PageTest, TokenOfAnotherQuery_IsRefused) {
  EXPECT_FALSE(ParsePage(10, MakePageToken("projects/p/vms/a", "query"), "other").has_value());
  EXPECT_FALSE(ParsePage(10, "nonsense", "query").has_value());
  EXPECT_FALSE(ParsePage(-1, "", "query").has_value());
}

}  // namespace
}  // namespace gemel::daemon
