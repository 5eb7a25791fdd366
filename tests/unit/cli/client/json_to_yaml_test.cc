#include "cli/client/json_to_yaml.h"

#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

TEST(JsonToYamlTest, Object_IsALineAKey) {
  EXPECT_EQ(JsonToYaml(R"({"name": "web", "cpus": 2, "on": true})"),
            "name: web\ncpus: 2\n\"on\": true\n");
}

TEST(JsonToYamlTest, Nested_IsIndented) {
  EXPECT_EQ(JsonToYaml(R"({"a": {"b": {"c": 1}}, "d": 2})"), "a:\n  b:\n    c: 1\nd: 2\n");
}

TEST(JsonToYamlTest, ListOfObjects_BeginsOnTheDash) {
  EXPECT_EQ(JsonToYaml(R"({"disks": [{"disk": "x1", "cpus": 1}, {"disk": "x2"}]})"),
            "disks:\n  - disk: x1\n    cpus: 1\n  - disk: x2\n");
}

TEST(JsonToYamlTest, ListOfScalars_IsALineEach) {
  EXPECT_EQ(JsonToYaml(R"([1, "two"])"), "- 1\n- two\n");
}

TEST(JsonToYamlTest, EmptyOnes_StayOnTheLine) {
  EXPECT_EQ(JsonToYaml(R"({"a": {}, "b": [], "c": [{}]})"), "a: {}\nb: []\nc:\n  - {}\n");
  EXPECT_EQ(JsonToYaml("[]"), "[]\n");
}

TEST(JsonToYamlTest, WordsThatYamlReadsOtherwise_StayQuoted) {
  EXPECT_EQ(JsonToYaml(R"({"a": "no", "b": "12", "c": "x: y", "d": "", "e": "a\"b", "f": "Null"})"),
            "a: \"no\"\nb: \"12\"\nc: \"x: y\"\nd: \"\"\ne: \"a\\\"b\"\nf: \"Null\"\n");
}

}  // namespace
}  // namespace gemel::cli
