#include "pki/authority_index.h"

#include <gtest/gtest.h>

namespace gemel::pki {
namespace {

TEST(AuthorityIndexTest, Format_ReadsBackTheSame) {
  const std::vector<IssuedCertificate> index = {
      {"41f0", Purpose::kClient, "alice", 1, 2, std::nullopt},
      {"5", Purpose::kServer, "node-a", -1, 2, 3}};
  const auto parsed = ParseIndex(FormatIndex(index));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(*parsed, index);
}

TEST(AuthorityIndexTest, BrokenLine_IsNamed) {
  for (const char* line :
       {"41f0 client alice 1 2", "41f0 other alice 1 2 -", "zz client a 1 2 -",
        "41f0 client alice x 2 -", "41f0 client alice 1 2 y", "41f0 client alice 1 2 - more"}) {
    const auto parsed = ParseIndex(std::string("# head\n") + line + "\n");
    ASSERT_FALSE(parsed.has_value()) << line;
    EXPECT_EQ(parsed.error().code, Code::kDataLoss);
    EXPECT_TRUE(parsed.error().message.starts_with("line 2: ")) << parsed.error().message;
  }
}

}  // namespace
}  // namespace gemel::pki
