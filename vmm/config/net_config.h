// A network device of a virtual machine as data: what its other end is, and what the guest sees of
// it. Keys and words are those of --net (docs/RUN.md).
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mac_address.h"
#include "base/result.h"

namespace gemel {

// What a path of a Unix socket may have: sockaddr_un::sun_path less the zero.
inline constexpr std::size_t kMaxSocketBytes = 107;

inline constexpr std::uint32_t kMaxNetQueues = 16;  // pairs of one device
inline constexpr std::uint32_t kMinMtu = 68;        // virtio 1.2, 5.1.4.1
inline constexpr std::uint32_t kMaxMtu = 65535;

// A token bucket for each of bytes and frames. 0 a second: no limit; 0 of burst: a tenth of a
// second's worth.
struct NetLimit {
  std::uint64_t bytes = 0;  // a second
  std::uint64_t bytes_burst = 0;
  std::uint64_t packets = 0;  // a second
  std::uint64_t packets_burst = 0;
  bool operator==(const NetLimit&) const = default;
};

// "tcp:127.0.0.1:2222-:22": what reaches the host's port is the guest's.
struct HostForward {
  bool udp = false;
  std::string host_address = "127.0.0.1";  // dotted IPv4
  std::uint16_t host_port = 0;             // not 0
  std::string guest_address;               // dotted IPv4; empty: the one DHCP gives
  std::uint16_t guest_port = 0;            // not 0
  bool operator==(const HostForward&) const = default;
};

// kUser alone: the network that gemel-slirp makes up.
struct UserNetConfig {
  std::vector<HostForward> forwards;
  std::string net = "10.0.2.0/24";  // dotted IPv4 and a prefix length of 8 to 28, no host bits
  bool restricted = false;          // the guest reaches nothing but what `forwards` lets in
  bool operator==(const UserNetConfig&) const = default;
};

// Whether the kernel moves the frames (vhost-net): kAuto where it can, kOn or not at all.
enum class VhostMode : std::uint8_t { kAuto, kOn, kOff };

struct NetConfig {
  enum class Kind : std::uint8_t {
    kUser,     // NAT through gemel-slirp
    kTap,      // `name`: a tap interface, there or to be made
    kMacvtap,  // `name`: a macvtap interface
    kFd,       // `fds`: of the program that reads the words: taps, or a connected Unix socket
    kSocket,   // `path`: a Unix stream socket; whoever comes second connects
  };
  Kind kind = Kind::kUser;
  std::string name;
  std::vector<int> fds;  // one a queue pair
  std::string path;
  std::optional<MacAddress> mac;  // none: DeriveMac, done before the VM's process is told
  std::uint32_t mtu = 0;          // 0: not told to the guest
  std::uint32_t queues = 1;       // pairs
  VhostMode vhost = VhostMode::kAuto;
  NetLimit rx, tx;  // as the guest sees it: rx is what it receives
  UserNetConfig user;
  bool operator==(const NetConfig&) const = default;
};

// Pure; kInvalidArgument with "net: <value>: <what is wrong>".
Status Validate(const NetConfig& net);

// "02:00:5e:10:00:01", upper or lower case; a unicast address that is not all zeros.
Result<MacAddress> ParseMac(std::string_view argument, std::string_view text);
std::string FormatMac(const MacAddress& mac);

// An address of our own choice, the same for the same words: locally administered (IEEE 802, 8.2),
// its other 46 bits a hash of `identity` (what no other machine has: a UUID) and the device's number.
MacAddress DeriveMac(std::string_view identity, std::uint32_t index);

// The words of --net.
Result<NetConfig> ParseNet(std::string_view text);

}  // namespace gemel
