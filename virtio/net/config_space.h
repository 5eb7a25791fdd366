// The network device's wire formats (virtio 1.2, sections 5.1.3 to 5.1.6): feature bits, configuration
// space, control commands. The header in front of frames: net/frame_header.h. All little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio {

// Feature bits (5.1.3).
inline constexpr std::uint64_t kNetFeatureCsum = 1ull << 0;
inline constexpr std::uint64_t kNetFeatureGuestCsum = 1ull << 1;
inline constexpr std::uint64_t kNetFeatureCtrlGuestOffloads = 1ull << 2;
inline constexpr std::uint64_t kNetFeatureMtu = 1ull << 3;
inline constexpr std::uint64_t kNetFeatureMac = 1ull << 5;
inline constexpr std::uint64_t kNetFeatureGuestTso4 = 1ull << 7;
inline constexpr std::uint64_t kNetFeatureGuestTso6 = 1ull << 8;
inline constexpr std::uint64_t kNetFeatureGuestEcn = 1ull << 9;
inline constexpr std::uint64_t kNetFeatureGuestUfo = 1ull << 10;
inline constexpr std::uint64_t kNetFeatureHostTso4 = 1ull << 11;
inline constexpr std::uint64_t kNetFeatureHostTso6 = 1ull << 12;
inline constexpr std::uint64_t kNetFeatureHostEcn = 1ull << 13;
inline constexpr std::uint64_t kNetFeatureHostUfo = 1ull << 14;
inline constexpr std::uint64_t kNetFeatureMrgRxbuf = 1ull << 15;
inline constexpr std::uint64_t kNetFeatureStatus = 1ull << 16;
inline constexpr std::uint64_t kNetFeatureCtrlVq = 1ull << 17;
inline constexpr std::uint64_t kNetFeatureCtrlRx = 1ull << 18;
inline constexpr std::uint64_t kNetFeatureCtrlVlan = 1ull << 19;
inline constexpr std::uint64_t kNetFeatureCtrlRxExtra = 1ull << 20;
inline constexpr std::uint64_t kNetFeatureGuestAnnounce = 1ull << 21;
inline constexpr std::uint64_t kNetFeatureMq = 1ull << 22;
inline constexpr std::uint64_t kNetFeatureCtrlMacAddr = 1ull << 23;
inline constexpr std::uint64_t kNetFeatureGuestUso4 = 1ull << 54;
inline constexpr std::uint64_t kNetFeatureGuestUso6 = 1ull << 55;
inline constexpr std::uint64_t kNetFeatureHostUso = 1ull << 56;

// struct virtio_net_config (5.1.4). Fields of features that are not offered are 0.
struct [[gnu::packed]] NetConfigSpace {
  std::uint8_t mac[6];
  std::uint16_t status;
  std::uint16_t max_virtqueue_pairs;
  std::uint16_t mtu;
};
static_assert(offsetof(NetConfigSpace, status) == 6);
static_assert(offsetof(NetConfigSpace, mtu) == 10);
static_assert(sizeof(NetConfigSpace) == 12);

inline constexpr std::uint16_t kNetStatusLinkUp = 1;
inline constexpr std::uint16_t kNetStatusAnnounce = 2;

// A control command (5.1.6.5):
//
//   device-readable                  device-writable
//   +-------+---------+-----------+  +-----+
//   | class | command | data …    |  | ack |
//   +-------+---------+-----------+  +-----+
enum class NetControlClass : std::uint8_t {
  kRx = 0,
  kMac = 1,
  kVlan = 2,
  kAnnounce = 3,
  kMq = 4,
  kGuestOffloads = 5,
};
// Of kRx: one byte, 0 or 1.
enum class NetControlRx : std::uint8_t {
  kPromisc = 0,
  kAllMulti = 1,
  kAllUni = 2,
  kNoMulti = 3,
  kNoUni = 4,
  kNoBroadcast = 5,
};
// Of kMac. kTableSet: a le32 count and so many addresses, twice: unicast, multicast.
inline constexpr std::uint8_t kNetControlMacTableSet = 0;
inline constexpr std::uint8_t kNetControlMacAddrSet = 1;
// Of kVlan: a le16.
inline constexpr std::uint8_t kNetControlVlanAdd = 0;
inline constexpr std::uint8_t kNetControlVlanDel = 1;
inline constexpr std::uint8_t kNetControlAnnounceAck = 0;
inline constexpr std::uint8_t kNetControlMqPairsSet = 0;        // a le16
inline constexpr std::uint8_t kNetControlGuestOffloadsSet = 0;  // a le64 of feature bits

enum class NetControlAck : std::uint8_t { kOk = 0, kError = 1 };

}  // namespace gemel::virtio
