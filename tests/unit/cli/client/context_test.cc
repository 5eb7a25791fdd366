#include "cli/client/context.h"

#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

constexpr std::string_view kText =
    "current rack\ncontext rack server=node-a:7443 credentials=/etc/gemel/alice project=web\n";

TEST(ContextTest, File_ReadsAsItsParts) {
  const auto contexts = ParseContexts(kText);
  ASSERT_TRUE(contexts.has_value()) << contexts.error().message;
  EXPECT_EQ(contexts->current, "rack");
  EXPECT_EQ(contexts->all.at("rack"), (Context{"node-a:7443", "/etc/gemel/alice", "web"}));
  EXPECT_TRUE(IsLocal(contexts->all.at("local").server));
}

TEST(ContextTest, Format_ReadsBackTheSame) {
  const auto contexts = ParseContexts(kText);
  EXPECT_EQ(ParseContexts(FormatContexts(*contexts)).value(), *contexts);
}

TEST(ContextTest, NothingMade_MeansThisHost) {
  EXPECT_EQ(ParseContexts("").value(), Contexts());
  EXPECT_EQ(Contexts().all.at("local").server, "unix:/run/gemel/api.sock");
}

TEST(ContextTest, BrokenLines_AreNamed) {
  EXPECT_EQ(ParseContexts("\nserver x").error().message, "line 2: server: unknown");
  EXPECT_EQ(ParseContexts("context a host=b").error().message,
            "line 1: host=b: not server=, credentials= or project=");
  EXPECT_EQ(ParseContexts("context a server=b").error().message,
            "line 1: server: b: neither HOST:PORT nor unix:/PATH");
  EXPECT_EQ(ParseContexts("context").error().message, "line 1: context: its name is missing");
}

TEST(ContextTest, ServerOverTheNetwork_NeedsCredentials) {
  EXPECT_EQ(ValidateContext("a", {"host:1", "", "default"}).error().message,
            "credentials: host:1: needs a folder with cert.pem, key.pem and ca.pem");
  EXPECT_TRUE(ValidateContext("a", {"unix:/run/x", "", "default"}).has_value());
}

TEST(ContextTest, ValuesThatTheFileCannotHold_AreRefused) {
  EXPECT_FALSE(ValidateContext("a b", Context()).has_value());
  EXPECT_FALSE(ValidateContext("a", {"unix:/a b", "", "default"}).has_value());
  EXPECT_FALSE(ValidateContext("a", {"unix:/a", "x y", "default"}).has_value());
  EXPECT_FALSE(ValidateContext("a", {"unix:/a", "", "p/q"}).has_value());
}

TEST(ContextTest, SeveralServers_AreOneContext) {
  Context context{"node-a:7443,unix:/run/b.sock", "/etc/alice", "web"};
  EXPECT_EQ(context.servers(), (std::vector<std::string>{"node-a:7443", "unix:/run/b.sock"}));
  EXPECT_TRUE(ValidateContext("rack", context).has_value());
  context.credentials.clear();
  EXPECT_FALSE(ValidateContext("rack", context).has_value());
  for (const char* bad : {"node-a:7443,", ",node-a:7443", "node-a:7443,node-b", "a:1,unix:x"}) {
    context = {bad, "/etc/alice", "web"};
    EXPECT_FALSE(ValidateContext("rack", context).has_value()) << bad;
  }
}

}  // namespace
}  // namespace gemel::cli
