// A tap of the kernel's, in a network namespace of the test's own: UDP that one side leaves for the
// other to cut (USO).
#include "net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "net/frame_header.h"

namespace gemel::net {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint16_t kPort = 4000, kSegment = 1000;
constexpr std::size_t kHeaders = 14 + 20 + 8;  // Ethernet, IPv4, UDP
constexpr std::array<std::uint8_t, 6> kGuest{2, 0, 0, 0, 0, 1};
constexpr int kTimeoutMs = 10'000;

void Put16(Bytes& frame, std::size_t at, std::size_t value) {
  frame[at] = static_cast<std::uint8_t>(value >> 8);
  frame[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint16_t Sum(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

Bytes Counted(std::size_t size) {
  Bytes bytes(size);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  return bytes;
}

sockaddr_in AddressOf(const char* text, std::uint16_t port = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

class TapTest : public testing::Test {
 protected:
  void SetUp() override {
    // Of this thread alone: gone with it.
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "a network namespace needs root";
    UniqueFd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (!fd) GTEST_SKIP() << "/dev/net/tun: " << std::strerror(errno);
    std::strcpy(interface_.ifr_name, "tap0");
    interface_.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    ASSERT_EQ(ioctl(fd.get(), TUNSETIFF, &interface_), 0);
    auto adopted = AdoptTap(std::move(fd));
    ASSERT_TRUE(adopted) << adopted.error().message;
    tap_ = std::move(*adopted);
    if ((tap_->offloads() & kUso) == 0) GTEST_SKIP() << "taps cut no UDP before Linux 6.2";
    socket_ = UniqueFd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    Configure();
  }

  // 10.0.0.1 is the host, 10.0.0.2 the guest, whom no ARP need look for.
  void Configure() {
    const auto own = AddressOf("10.0.0.1", kPort), mask = AddressOf("255.255.255.0");
    ifreq request = interface_;
    std::memcpy(&request.ifr_addr, &own, sizeof(own));
    ASSERT_EQ(ioctl(socket_.get(), SIOCSIFADDR, &request), 0);
    std::memcpy(&request.ifr_addr, &mask, sizeof(mask));
    ASSERT_EQ(ioctl(socket_.get(), SIOCSIFNETMASK, &request), 0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ASSERT_EQ(ioctl(socket_.get(), SIOCSIFFLAGS, &request), 0);
    ASSERT_EQ(ioctl(socket_.get(), SIOCGIFHWADDR, &request), 0);
    std::memcpy(host_.data(), request.ifr_hwaddr.sa_data, host_.size());
    arpreq neighbour{};
    const auto guest = AddressOf("10.0.0.2");
    std::memcpy(&neighbour.arp_pa, &guest, sizeof(guest));
    neighbour.arp_ha.sa_family = ARPHRD_ETHER;
    std::memcpy(neighbour.arp_ha.sa_data, kGuest.data(), kGuest.size());
    neighbour.arp_flags = ATF_PERM | ATF_COM;
    std::strcpy(neighbour.arp_dev, interface_.ifr_name);
    ASSERT_EQ(ioctl(socket_.get(), SIOCSARP, &neighbour), 0);
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof(own)), 0);
  }

  Bytes DatagramToHost(const Bytes& payload) const {
    Bytes frame(kHeaders);
    std::copy(host_.begin(), host_.end(), frame.begin());
    std::copy(kGuest.begin(), kGuest.end(), frame.begin() + 6);
    Put16(frame, 12, 0x0800);
    const std::size_t udp_bytes = 8 + payload.size();
    frame[14] = 0x45;
    Put16(frame, 16, 20 + udp_bytes);
    frame[22] = 64;  // time to live
    frame[23] = IPPROTO_UDP;
    const std::array<std::uint8_t, 8> addresses{10, 0, 0, 2, 10, 0, 0, 1};
    std::copy(addresses.begin(), addresses.end(), frame.begin() + 26);
    Put16(frame, 24, static_cast<std::uint16_t>(~Sum({frame.data() + 14, 20})));
    Put16(frame, 34, kPort);
    Put16(frame, 36, kPort);
    Put16(frame, 38, udp_bytes);
    // Of the pseudo header alone: the rest is left undone.
    Put16(frame, 40, Sum(addresses, static_cast<std::uint32_t>(IPPROTO_UDP + udp_bytes)));
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
  }

  Bytes ReceiveDatagram() const {
    Bytes datagram(65536);
    pollfd ready{socket_.get(), POLLIN, 0};
    if (poll(&ready, 1, kTimeoutMs) != 1) return {};
    const ssize_t n = recv(socket_.get(), datagram.data(), datagram.size(), 0);
    datagram.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return datagram;
  }

  void SendToGuest(const Bytes& payload) const {
    const int segment = kSegment;
    ASSERT_EQ(setsockopt(socket_.get(), IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
    const auto guest = AddressOf("10.0.0.2", kPort);
    ASSERT_EQ(sendto(socket_.get(), payload.data(), payload.size(), 0,
                     reinterpret_cast<const sockaddr*>(&guest), sizeof(guest)),
              static_cast<ssize_t>(payload.size()));
  }

  // Of the next datagram that the host sent: its payload; IPv6's neighbours are not asked about.
  Bytes ReceiveFrame(FrameHeader& header) const {
    for (;;) {
      Bytes frame(kMaxFrameBytes);
      const std::array<iovec, 2> into{{{&header, sizeof(header)}, {frame.data(), frame.size()}}};
      const auto bytes = tap_->Receive(into);
      if (bytes && frame[12] == 0x08 && frame[13] == 0)
        return {frame.begin() + kHeaders, frame.begin() + static_cast<std::ptrdiff_t>(*bytes)};
      pollfd ready{tap_->fd(), POLLIN, 0};
      if (!bytes && poll(&ready, 1, kTimeoutMs) != 1) return {};
    }
  }

  ifreq interface_{};
  std::array<std::uint8_t, 6> host_{};
  std::unique_ptr<NetBackend> tap_;
  UniqueFd socket_;
};

TEST_F(TapTest, UdpThatIsNotCut_ArrivesAsDatagrams) {
  const Bytes payload = Counted(2500);
  Bytes frame = DatagramToHost(payload);
  FrameHeader header{kFlagNeedsChecksum, kGsoUdpL4, kHeaders, kSegment, 34, 6, 0};
  ASSERT_TRUE(CheckTransmitHeader(header, frame.size(), tap_->offloads()));
  const std::array<iovec, 2> pieces{{{&header, sizeof(header)}, {frame.data(), frame.size()}}};
  const NetFrame sent{pieces};
  std::size_t failed = 0;
  EXPECT_EQ(tap_->Transmit({&sent, 1}, failed), 1u);
  EXPECT_EQ(failed, 0u);
  for (const std::size_t at : {0u, 1000u, 2000u}) {
    const std::size_t end = std::min<std::size_t>(at + kSegment, payload.size());
    EXPECT_EQ(ReceiveDatagram(), Bytes(payload.begin() + static_cast<std::ptrdiff_t>(at),
                                       payload.begin() + static_cast<std::ptrdiff_t>(end)))
        << at;
  }
}

TEST_F(TapTest, DatagramsOfOneSend_ArriveInOneFrame) {
  ASSERT_TRUE(tap_->SetReceiveOffloads(kChecksum | kUso));
  const Bytes payload = Counted(2500);
  SendToGuest(payload);
  FrameHeader header{};
  EXPECT_EQ(ReceiveFrame(header), payload);
  EXPECT_EQ(header.gso_type, kGsoUdpL4);
  EXPECT_EQ(header.gso_size, kSegment);
}

TEST_F(TapTest, GuestThatTakesNoUncutUdp_GetsDatagrams) {
  ASSERT_TRUE(tap_->SetReceiveOffloads(kChecksum));
  SendToGuest(Counted(2500));
  for (const std::size_t bytes : {1000u, 1000u, 500u}) {
    FrameHeader header{};
    EXPECT_EQ(ReceiveFrame(header).size(), bytes);
    EXPECT_EQ(header.gso_type, kGsoNone);
  }
}

}  // namespace
}  // namespace gemel::net
