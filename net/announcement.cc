#include "net/announcement.h"

#include <cstring>

namespace gemel::net {
namespace {

// IEEE 802.3 and RFC 903, as they are on the wire.
constexpr std::array<unsigned char, 2> kEtherType = {0x80, 0x35};
constexpr std::array<unsigned char, 8> kRequest = {
    0,    1,     // of Ethernet addresses
    0x08, 0x00,  // for IPv4's
    6,    4,     // bytes of each
    0,    3,     // request reverse
};
constexpr std::size_t kSource = 6, kType = 12, kBody = 14, kSender = 22, kTarget = 32;

}  // namespace

std::array<std::byte, kAnnouncementBytes> Announcement(const MacAddress& mac) {
  std::array<std::byte, kAnnouncementBytes> frame{};
  std::memset(frame.data(), 0xff, kSource);
  std::memcpy(&frame[kSource], mac.data(), mac.size());
  std::memcpy(&frame[kType], kEtherType.data(), kEtherType.size());
  std::memcpy(&frame[kBody], kRequest.data(), kRequest.size());
  std::memcpy(&frame[kSender], mac.data(), mac.size());
  std::memcpy(&frame[kTarget], mac.data(), mac.size());
  return frame;
}

}  // namespace gemel::net
