// The host's side of ./bench net: sends frames into a tap interface at a steady rate, so that a VMM
// has something to receive, or writes frames as a VMM would, which is what a tap can take at most.
//
//   frames send  INTERFACE BYTES FRAMES_A_SECOND MILLISECONDS
//   frames write TAP       BYTES 0               MILLISECONDS
//
// Prints {"ops": frames, "ns": how long, "cpu_ns": its own CPU time}.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {
namespace {

constexpr std::uint16_t kEtherType = 0x88b5;  // for local experiments; tests/guests/bench/net.cc
constexpr std::size_t kVnetHeaderBytes = 12;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kTurn = 200'000;  // ns from burst to burst

struct Words {
  std::string_view verb;
  std::string interface;
  std::uint64_t bytes = 0, rate = 0, milliseconds = 0;
};

std::int64_t Clock(clockid_t id) {
  timespec at{};
  clock_gettime(id, &at);
  return at.tv_sec * kSecond + at.tv_nsec;
}

void SleepUntil(std::int64_t when) {
  const timespec at{.tv_sec = when / kSecond, .tv_nsec = when % kSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) continue;
}

// To an address that nobody has.
std::vector<std::byte> MakeFrame(std::size_t bytes) {
  std::vector<std::byte> frame(bytes);
  frame[0] = frame[6] = std::byte{2};
  frame[5] = std::byte{1};
  frame[12] = std::byte{kEtherType >> 8};
  frame[13] = std::byte{kEtherType & 0xff};
  return frame;
}

Result<UniqueFd> OpenInterface(const std::string& name) {
  UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));  // receives nothing
  if (!fd) return ErrnoError(errno, "packet socket");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(name.c_str()));
  // SAFETY: what bind takes is a sockaddr of any family.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return ErrnoError(errno, name);
  const int on = 1;
  setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  return fd;
}

Result<UniqueFd> OpenTap(const std::string& name) {
  UniqueFd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) return ErrnoError(errno, name);
  const int header = kVnetHeaderBytes;
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0) return ErrnoError(errno, name);
  return fd;
}

// Bursts of the frame, as many as the rate asks for; what finds no room is lost, as on any wire.
std::uint64_t Send(const UniqueFd& interface, const Words& words, std::int64_t until) {
  constexpr std::size_t kBurst = 1024;
  std::vector<std::byte> frame = MakeFrame(words.bytes);
  iovec part{.iov_base = frame.data(), .iov_len = frame.size()};
  std::array<mmsghdr, kBurst> burst{};
  for (mmsghdr& message : burst) {
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
  }
  const std::int64_t began = Clock(CLOCK_MONOTONIC);
  std::uint64_t sent = 0;
  for (std::int64_t now = began; now < until; now = Clock(CLOCK_MONOTONIC)) {
    const auto due = static_cast<std::uint64_t>(now - began) * words.rate / kSecond;
    const auto n = static_cast<unsigned>(std::min<std::uint64_t>(due - sent, kBurst));
    sent += n;
    if (n > 0) sendmmsg(interface.get(), burst.data(), n, MSG_DONTWAIT);
    SleepUntil(now + kTurn);
  }
  return sent;
}

std::uint64_t Write(const UniqueFd& tap, const Words& words, std::int64_t until) {
  std::vector<std::byte> frame = MakeFrame(words.bytes);
  frame.insert(frame.begin(), kVnetHeaderBytes, std::byte{0});
  std::uint64_t written = 0;
  while (Clock(CLOCK_MONOTONIC) < until) {
    constexpr int kBatch = 64;
    for (int i = 0; i < kBatch; ++i)
      if (write(tap.get(), frame.data(), frame.size()) > 0) ++written;
  }
  return written;
}

Result<Words> Parse(int argc, char** argv) {
  if (argc != 6) return InvalidArgument("send|write INTERFACE BYTES RATE MILLISECONDS");
  Words words{.verb = argv[1], .interface = argv[2]};
  std::array<std::uint64_t*, 3> numbers = {&words.bytes, &words.rate, &words.milliseconds};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::string_view text = argv[3 + i];
    if (std::from_chars(text.data(), text.data() + text.size(), *numbers[i]).ec != std::errc{})
      return InvalidArgument("{}: not a number", text);
  }
  if (words.bytes < 14 || words.bytes > 65535) return InvalidArgument("{} bytes", words.bytes);
  return words;
}

Status Run(const Words& words) {
  const bool send = words.verb == "send";
  ASSIGN_OR_RETURN(const UniqueFd fd,
                   send ? OpenInterface(words.interface) : OpenTap(words.interface));
  const std::int64_t began = Clock(CLOCK_MONOTONIC);
  const std::int64_t until = began + static_cast<std::int64_t>(words.milliseconds) * 1'000'000;
  const std::uint64_t ops = send ? Send(fd, words, until) : Write(fd, words, until);
  fmt::print("{{\"ops\": {}, \"ns\": {}, \"cpu_ns\": {}}}\n", ops, Clock(CLOCK_MONOTONIC) - began,
             Clock(CLOCK_PROCESS_CPUTIME_ID));
  return {};
}

}  // namespace
}  // namespace gemel

int main(int argc, char** argv) {
  const auto words = gemel::Parse(argc, argv);
  const gemel::Status done =
      words ? gemel::Run(*words) : gemel::Status(std::unexpected(words.error()));
  if (done) return 0;
  fmt::print(stderr, "frames: {}\n", done.error().message);
  return 1;
}
