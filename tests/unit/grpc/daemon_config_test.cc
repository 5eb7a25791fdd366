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

}  // namespace
}  // namespace gemel::daemon
