#include "helpers/slirp/options.h"

#include <gtest/gtest.h>

#include <vector>

namespace gemel::usernet {
namespace {

Result<Options> Parse(std::vector<const char*> words) { return ParseOptions(words); }

TEST(SlirpOptions, AllOfThem_AreTaken) {
  const auto options = Parse({"--frames-fd", "3", "--name", "web", "--net",
                              "user,net=10.9.0.0/16,hostfwd=udp::5353-:53,restrict=on"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->frames_fd, 3);
  EXPECT_EQ(options->name, "web");
  EXPECT_EQ(options->net.user.net, "10.9.0.0/16");
  EXPECT_TRUE(options->net.user.restricted);
  ASSERT_EQ(options->net.user.forwards.size(), 1u);
  EXPECT_TRUE(options->net.user.forwards[0].udp);
}

TEST(SlirpOptions, WithoutDescriptor_SayHowItIsStarted) {
  const auto options = Parse({"--net", "user"});
  ASSERT_FALSE(options);
  EXPECT_NE(options.error().message.find("usage: gemel-slirp"), std::string::npos);
}

TEST(SlirpOptions, StandardStreamAsDescriptor_IsRefused) {
  EXPECT_FALSE(Parse({"--frames-fd", "2", "--net", "user"}));
}

TEST(SlirpOptions, OtherKindOfNetwork_IsRefused) {
  const auto options = Parse({"--frames-fd", "3", "--net", "tap=tap0"});
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().message, "net: not of kind user");
}

TEST(SlirpOptions, UnknownWordAndMissingValue_AreRefused) {
  EXPECT_FALSE(Parse({"--frames-fd", "3", "--tftp", "/"}));
  EXPECT_FALSE(Parse({"--frames-fd", "3", "--net"}));
}

TEST(SlirpOptions, NetworkThatDoesNotValidate_IsRefused) {
  EXPECT_FALSE(Parse({"--frames-fd", "3", "--net", "user,net=10.0.2.1/24"}));
}

}  // namespace
}  // namespace gemel::usernet
