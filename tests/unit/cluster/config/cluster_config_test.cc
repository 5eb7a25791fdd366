#include "cluster/config/cluster_config.h"

#include <gtest/gtest.h>

namespace gemel::cluster {
namespace {

constexpr std::string_view kLeast = "node = 2\nendpoints = [\"10.0.0.1:2379\"]\n";

std::string Plus(std::string_view more) { return std::string(kLeast) + std::string(more); }

TEST(ClusterConfigTest, NodeAndEndpoints_AreEnough) {
  const auto config = ParseClusterConfig(kLeast);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->node, 2U);
  EXPECT_EQ(config->endpoints, (std::vector<std::string>{"10.0.0.1:2379"}));
  EXPECT_EQ(config->run_dir, "/run/gemel");
}

TEST(ClusterConfigTest, Tls_IsAllOrNothing) {
  EXPECT_TRUE(ParseClusterConfig(Plus("[tls]\nca = \"/c\"\ncertificate = \"/n\"\nkey = \"/k\"\n")));
  EXPECT_FALSE(ParseClusterConfig(Plus("[tls]\nca = \"/c\"\nkey = \"/k\"\n")));
}

TEST(ClusterConfigTest, WhatIsWrong_IsNamed) {
  const auto error = [](std::string_view text) { return ParseClusterConfig(text).error().message; };
  EXPECT_EQ(error("endpoints = [\"1.2.3.4:5\"]\n"), "node: missing");
  EXPECT_EQ(error("node = 1\n"), "endpoints: missing");
  EXPECT_EQ(error("node = 256\n"), "node: 256: from 1 to 255");
  EXPECT_EQ(error(Plus("role = \"witness\"\n")), "node: 2: a witness has no number");
  EXPECT_EQ(error(Plus("role = \"boss\"\n")), "role: boss: node or witness");
  EXPECT_EQ(error(Plus("name = \"A\"\n")),
            "name: A: not 1 to 63 of a-z, 0-9 and -, no - at an end");
  EXPECT_EQ(error(Plus("colour = \"red\"\n")), "colour: unknown, or not of this kind");
  EXPECT_EQ(error(Plus("run_dir = \"here\"\n")), "run_dir: here: not an absolute path");
  EXPECT_EQ(error(Plus("[member]\njoin_port = 70000\n")), "member.join_port: 70000: not a port");
  EXPECT_FALSE(ParseClusterConfig(Plus("run_dir = 3\n")));
  EXPECT_FALSE(ParseClusterConfig("node = \"1\"\n"));
  EXPECT_FALSE(ParseClusterConfig("endpoints = [3]\n"));
  EXPECT_FALSE(ParseClusterConfig(Plus("[tls.more]\nca = \"/c\"\n")));
  EXPECT_FALSE(ParseClusterConfig("node ="));
}

TEST(ClusterConfigTest, WhatIsFormatted_IsReadBack) {
  ClusterConfig config;
  config.cluster = "rack7";
  config.name = "a";
  config.node = 1;
  config.endpoints = {"10.0.0.1:2379", "[::1]:2379"};
  config.log_level = LogLevel::kDebug;
  config.ca = "/etc/with \"quotes\" and \\";
  config.certificate = config.key = "/n";
  config.member.address = "10.0.0.1";
  config.member.join_port = 7;
  config.member.initial_cluster = "a=https://10.0.0.1:2380";
  const auto read = ParseClusterConfig(FormatClusterConfig(config));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, config);
}

TEST(ClusterConfigTest, Witness_HasNoNumber) {
  ClusterConfig config;
  config.role = Role::kWitness;
  config.endpoints = {"10.0.0.1:2379"};
  const auto read = ParseClusterConfig(FormatClusterConfig(config));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, config);
}

}  // namespace
}  // namespace gemel::cluster
