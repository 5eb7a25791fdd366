#include "cli/client/output.h"

#include <google/protobuf/timestamp.pb.h>
#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

Table TwoRows() {
  Table table({{"NAME"}, {"STATE"}, {"UID", true}});
  table.Add({"db", "running", "1"});
  table.Add({"größer", "", "2"});
  return table;
}

TEST(OutputTest, Table_AlignsByCharactersAndShowsNothingAsADash) {
  EXPECT_EQ(TwoRows().Text(false, false), "NAME    STATE\ndb      running\ngrößer  -\n");
}

TEST(OutputTest, Wide_ShowsAllColumns) {
  EXPECT_EQ(TwoRows().Text(true, false, false), "db      running  1\ngrößer  -        2\n");
}

TEST(OutputTest, Colour_PaintsTheStateAlone) {
  EXPECT_EQ(TwoRows().Text(false, true, false), "db      \x1b[32mrunning\x1b[0m\ngrößer  -\n");
}

TEST(OutputTest, ControlCharactersOfAServer_DoNotReachTheTerminal) {
  Table table({{"NAME"}});
  table.Add({"a\x1b[2J"});
  EXPECT_EQ(table.Text(false, false, false), "a\\x1b[2J\n");
}

TEST(OutputTest, EnumWord_IsTheLastPartInLowerCase) {
  EXPECT_EQ(EnumWord("VIRTUAL_MACHINE_STATE_RUNNING", "VIRTUAL_MACHINE_STATE_"), "running");
  EXPECT_EQ(EnumWord("EVENT_TYPE_TRIPLE_FAULT", "EVENT_TYPE_"), "triple-fault");
  EXPECT_EQ(EnumWord("ROLE_UNSPECIFIED", "ROLE_"), "");
}

TEST(OutputTest, Ago_IsRoughAndNeverNegative) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(Ago(time, 100), "");
  time.set_seconds(1000);
  EXPECT_EQ(Ago(time, 900), "0s");
  EXPECT_EQ(Ago(time, 1009), "9s");
  EXPECT_EQ(Ago(time, 1000 + 300), "5m");
  EXPECT_EQ(Ago(time, 1000 + 3 * 3600), "3h");
  EXPECT_EQ(Ago(time, 1000 + 12 * 86'400), "12d");
}

TEST(OutputTest, Format_UnknownIsNamed) {
  EXPECT_EQ(ParseFormat("yaml").value(), Format::kYaml);
  EXPECT_EQ(ParseFormat("xml").error().message,
            "output: xml: unknown; there is table, wide, json, yaml, name");
}

}  // namespace
}  // namespace gemel::cli
