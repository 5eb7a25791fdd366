// What gemeld reads of its configuration file.
#include "grpc/daemon_config.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

TEST(DaemonConfig, IscsiTargets_AreRead) {
  DaemonConfig config;
  const Status parsed = ParseDaemonConfig(R"(
iscsi_initiator = "iqn.2026-11.test:a"
[iscsi_targets.san]
portal = "10.0.0.9:3260"
iqn = "iqn.2026-11.test:disk"
chap_user = "gemel"
chap_secret_file = "/secret"
projects = ["p", "q"]
)",
                                          config);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(config.iscsi.initiator, "iqn.2026-11.test:a");
  const IscsiTarget san{"10.0.0.9:3260", "iqn.2026-11.test:disk", "gemel", "/secret", {"p", "q"}};
  EXPECT_EQ(config.iscsi.targets.at("san"), san);
}

TEST(DaemonConfig, UnknownKeyOfATarget_IsNamed) {
  DaemonConfig config;
  const Status parsed = ParseDaemonConfig("[iscsi_targets.san]\nportals = \"x\"\n", config);
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().message, "iscsi_targets.san.portals: unknown");
}

TEST(DaemonConfig, TargetWithoutItsName_IsRefused) {
  DaemonConfig config;
  const Status parsed = ParseDaemonConfig("[iscsi_targets.san]\nportal = \"x\"\n", config);
  ASSERT_FALSE(parsed.has_value());
  EXPECT_NE(parsed.error().message.find("iscsi_targets.san.iqn"), std::string::npos);
}

TEST(DaemonConfig, WithoutAnInitiator_ItIsTheNodes) {
  DaemonConfig config;
  config.node = "a";
  FillDaemonDefaults(config);
  EXPECT_EQ(config.iscsi.initiator, "iqn.2026-11.org.gemel:a");
}

TEST(DaemonConfig, VhostOff_IsTaken_AndAnotherWordIsNamed) {
  DaemonConfig config;
  EXPECT_TRUE(config.vhost);
  EXPECT_TRUE(ParseDaemonConfig("vhost = \"off\"\n", config));
  EXPECT_FALSE(config.vhost);
  const Status parsed = ParseDaemonConfig("vhost = \"on\"\n", config);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().message, "vhost: on: not auto or off");
}

TEST(DaemonConfig, FenceAgents_AreRead) {
  DaemonConfig config;
  const Status parsed = ParseDaemonConfig(R"(
[fence_agents.b]
agent = "/usr/sbin/fence_ipmilan"
plug = "7"
secret_file = "/secret"
user = "fence"
timeout = "20"
options.ip = "10.0.0.9"
options.lanplus = "1"
)",
                                          config);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const FenceAgent agent{"/usr/sbin/fence_ipmilan",
                         "7",
                         "/secret",
                         "fence",
                         20,
                         {{"ip", "10.0.0.9"}, {"lanplus", "1"}}};
  EXPECT_EQ(config.fence_agents.at("b"), agent);
}

std::string FenceError(const std::string& text) {
  DaemonConfig config;
  const Status parsed = ParseDaemonConfig("[fence_agents.b]\n" + text, config);
  return parsed.has_value() ? "" : parsed.error().message;
}

TEST(DaemonConfig, NonsenseOfAFenceAgent_NamesItsKey) {
  const std::string good = "agent = \"/agent\"\n";
  EXPECT_EQ(FenceError(good), "");
  EXPECT_EQ(FenceError(good + "ip = \"x\"\n"), "fence_agents.b.ip: unknown");
  EXPECT_TRUE(FenceError("plug = \"1\"\n").starts_with("fence_agents.b.agent: \"\": "));
  EXPECT_TRUE(FenceError("agent = \"fence_ipmilan\"\n").starts_with("fence_agents.b.agent: "));
  EXPECT_TRUE(FenceError(good + "timeout = \"0\"\n").starts_with("fence_agents.b.timeout: 0"));
  EXPECT_TRUE(FenceError(good + "options.password = \"x\"\n").find("secret_file") !=
              std::string::npos);
  EXPECT_TRUE(
      FenceError(good + "options.action = \"on\"\n").starts_with("fence_agents.b.options.action"));
  EXPECT_TRUE(
      FenceError(good + "options.ip = \"a\\nb=c\"\n").starts_with("fence_agents.b.options.ip"));
  EXPECT_TRUE(
      FenceError(good + "secret_file = \"secret\"\n").starts_with("fence_agents.b.secret_file"));
}

}  // namespace
}  // namespace gemel::daemon
