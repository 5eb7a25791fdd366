#include "keeper/config.h"

#include <gtest/gtest.h>

namespace gemel::keeper {
namespace {

constexpr std::string_view kLeast = "node = 2\nendpoints = [\"10.0.0.1:2379\"]\n";

std::string Plus(std::string_view more) { return std::string(kLeast) + std::string(more); }

TEST(ConfigTest, NodeAndEndpoints_AreEnough) {
  const auto config = ParseConfig(kLeast);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->node, 2U);
  EXPECT_EQ(config->endpoints, (std::vector<std::string>{"10.0.0.1:2379"}));
  EXPECT_EQ(config->run_dir, "/run/gemel");
}

TEST(ConfigTest, Tls_IsAllOrNothing) {
  EXPECT_TRUE(ParseConfig(Plus("[tls]\nca = \"/c\"\ncertificate = \"/n\"\nkey = \"/k\"\n")));
  EXPECT_FALSE(ParseConfig(Plus("[tls]\nca = \"/c\"\nkey = \"/k\"\n")));
}

TEST(ConfigTest, WhatIsWrong_IsNamed) {
  EXPECT_EQ(ParseConfig("endpoints = [\"1.2.3.4:5\"]\n").error().message, "node: missing");
  EXPECT_EQ(ParseConfig("node = 1\n").error().message, "endpoints: missing");
  EXPECT_EQ(ParseConfig("node = 256\n").error().message, "node: 256: from 1 to 255");
  EXPECT_EQ(ParseConfig(Plus("colour = \"red\"\n")).error().message,
            "colour: unknown, or not of this kind");
  EXPECT_EQ(ParseConfig(Plus("run_dir = \"here\"\n")).error().message,
            "run_dir: here: not an absolute path");
  EXPECT_FALSE(ParseConfig(Plus("run_dir = 3\n")));
  EXPECT_FALSE(ParseConfig("node = \"1\"\n"));
  EXPECT_FALSE(ParseConfig("endpoints = [3]\n"));
  EXPECT_FALSE(ParseConfig(Plus("[tls.more]\nca = \"/c\"\n")));
  EXPECT_FALSE(ParseConfig("node ="));
}

}  // namespace
}  // namespace gemel::keeper
