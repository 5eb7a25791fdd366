// Ways between programs in the guest and programs on the host that need no network: sockets, and the
// ports of a virtio console. Data, its words, and its checks; pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel {

inline constexpr std::size_t kMaxChannels = 30;

struct VsockConfig {
  std::uint32_t cid = 3;  // the guest's address: from 3 to 2^32 - 2
  // The socket that programs on the host connect to; "<path>_<port>" are those that they listen on.
  std::string path;
  bool operator==(const VsockConfig&) const = default;
};

// The virtio console itself, hvc0: beside the serial port, and much faster.
struct ConsoleConfig {
  enum class Kind : std::uint8_t { kNone, kStdio, kUnix };
  Kind kind = Kind::kNone;
  std::string path;  // kUnix
  bool operator==(const ConsoleConfig&) const = default;
};

// A named port of the virtio console: /dev/virtio-ports/NAME in the guest.
struct ChannelConfig {
  std::string name;  // 1 to 63 of A-Z, a-z, 0-9, '.', '-' and '_'
  std::string path;  // a socket that one program at a time connects to
  bool operator==(const ChannelConfig&) const = default;
};

// "[cid=N,]path=SOCKET".
Result<VsockConfig> ParseVsock(std::string_view text);
Status ValidateVsock(const VsockConfig& vsock);

// "none", "stdio", "unix:PATH".
Result<ConsoleConfig> ParseConsole(std::string_view text);
Status ValidateConsole(const ConsoleConfig& console);

// "name=NAME,path=SOCKET".
Result<ChannelConfig> ParseChannel(std::string_view text);
// At most kMaxChannels of them, no name and no path twice.
Status ValidateChannels(const std::vector<ChannelConfig>& channels);

}  // namespace gemel
