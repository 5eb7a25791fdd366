#include "net/announcement.h"

#include <gtest/gtest.h>

#include <vector>

namespace gemel::net {
namespace {

// RFC 903 and 826, byte for byte.
TEST(Announcement, IsARequestReverseToEverybody) {
  const auto frame = Announcement({0x02, 0x11, 0x22, 0x33, 0x44, 0x55});
  const std::vector<unsigned> wanted = {
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  // to
      0x02, 0x11, 0x22, 0x33, 0x44, 0x55,  // from
      0x80, 0x35,                          // RARP
      0,    1,    0x08, 0,    6,    4,     // Ethernet, IPv4
      0,    3,                             // request reverse
      0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 0,
      0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 0,
  };
  ASSERT_EQ(frame.size(), 60U);
  for (std::size_t i = 0; i < frame.size(); ++i)
    EXPECT_EQ(std::to_integer<unsigned>(frame[i]), i < wanted.size() ? wanted[i] : 0U) << i;
}

}  // namespace
}  // namespace gemel::net
