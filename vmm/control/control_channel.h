// One end of the control socket of a gemel-vmm: whole messages with descriptors, either side.
//
// A Unix SOCK_SEQPACKET, one message a datagram. A datagram begins with a 12-byte header, all
// little-endian:
//
//   0  u32 magic "GMLC"     4  u8 framing version, 1     5  u8 place: 0 inline, 1 memfd
//   6  u16 zero             8  u32 length of the payload
//
// An inline payload follows the header; a datagram is at most 64 KiB. A longer payload (at most
// kMaxPayloadBytes) is the content of a sealed memfd, which is passed as the last descriptor, and
// the datagram is the header alone. At most kMaxMessageFds descriptors of the message's own.
//
// The peer is not trusted: whatever breaks these rules is an error, after which the caller closes
// the channel. No descriptor that came with a refused message stays open.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {

inline constexpr std::size_t kMaxDatagramBytes = 64 << 10;
inline constexpr std::size_t kMaxPayloadBytes = 16 << 20;
inline constexpr std::size_t kMaxMessageFds = 252;  // SCM_MAX_FD is 253: one is left for the memfd

struct ControlMessage {
  std::string payload;
  std::vector<UniqueFd> fds;  // close-on-exec when received
};

// What Receive found.
struct Received {
  enum class State : std::uint8_t { kMessage, kNothing, kClosed };
  State state = State::kNothing;
  ControlMessage message;  // of kMessage
};

// Move-only; one thread.
class ControlChannel {
 public:
  // Two connected ends, both close-on-exec.
  static Result<std::pair<ControlChannel, ControlChannel>> CreatePair();
  // Takes over an inherited descriptor; kInvalidArgument if it is not a Unix SOCK_SEQPACKET socket.
  static Result<ControlChannel> Adopt(UniqueFd socket);

  // For polling: readable when Receive has something to say.
  int fd() const { return socket_.get(); }
  UniqueFd Release() && { return std::move(socket_); }

  // Sends all of the message or nothing. The peer gets copies of the descriptors; the caller's
  // close with `message`. kUnavailable if the peer has not made room within `timeout_ms` (0: never
  // waits); kAborted if the peer is gone; kInvalidArgument if the message is beyond the limits.
  Status Send(const ControlMessage& message, int timeout_ms = 0);

  // Never waits. kClosed once the peer is gone and everything it sent has been received.
  Result<Received> Receive();

 private:
  explicit ControlChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace gemel
