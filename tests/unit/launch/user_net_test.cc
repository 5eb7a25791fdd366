#include "launch/user_net.h"

#include <gtest/gtest.h>

namespace gemel::launch {
namespace {

void ExpectReadBack(std::string_view text) {
  const auto net = ParseNet(text);
  ASSERT_TRUE(net) << net.error().message;
  const auto again = ParseNet(UserNetWords(*net));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *net) << UserNetWords(*net);
}

TEST(UserNetWords, DefaultNetwork_IsNamed) {
  EXPECT_EQ(UserNetWords(NetConfig{}), "user,net=10.0.2.0/24");
}

TEST(UserNetWords, WhatConcernsTheHelper_IsReadBackTheSame) {
  ExpectReadBack("user");
  ExpectReadBack("user,net=192.168.0.0/16,restrict=on,mtu=9000");
  ExpectReadBack("user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.9:5353");
}

}  // namespace
}  // namespace gemel::launch
