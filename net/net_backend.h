// One queue pair's way out of a virtual machine: frames in and out.
//
// A tap, a macvtap and sockets implement it. It knows nothing of virtio queues or KVM; what travels
// is Ethernet frames, each behind a 12-byte header (net/frame_header.h) that says what is left to do
// for it: checksums, cutting into segments. A backend without offloads() may have no such header
// on its wire: it leaves it out when it sends, and zeroes it when it receives.
//
// One thread: the worker that owns it, from the first call on. Nothing blocks or allocates.
//
//   while (there is memory) if (!backend.Receive(iov)) break;   // kWouldBlock: wait for fd()
//   done = backend.Transmit(frames, failed);                    // fewer than all: wait for fd()
//
// A data path outside of this process (vhost-net) is another seam beside this one.
#pragma once
#include <sys/epoll.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "base/result.h"

namespace gemel::net {

// What may be left undone in a frame. Bits.
using Offloads = std::uint32_t;
inline constexpr Offloads kChecksum = 1;  // a checksum that is still to be filled in
inline constexpr Offloads kTso4 = 2;      // TCP segments of up to 64 KiB, to be cut
inline constexpr Offloads kTso6 = 4;
inline constexpr Offloads kTsoEcn = 8;  // such segments with CWR set
inline constexpr Offloads kUfo = 16;    // UDP datagrams to be fragmented
inline constexpr Offloads kUso = 32;    // UDP payloads to be cut into datagrams, IPv4 and IPv6

// The header in front of each frame, in both directions, at the seam.
inline constexpr std::size_t kHeaderBytes = 12;
// The largest frame behind a header: 65535 bytes of IP, Ethernet header, a VLAN tag.
inline constexpr std::size_t kMaxFrameBytes = 65535 + 14 + 4;

enum class NetError : std::uint8_t {
  kWouldBlock,  // nothing is there now
  kFailed,      // this frame is lost; the next may do better
  kClosed,      // nothing will ever come: do not watch fd() any more
};

inline constexpr std::size_t kMaxBatch = 64;

// A frame behind its header, in at most kMaxPieces pieces.
inline constexpr std::size_t kMaxPieces = 1024;  // UIO_MAXIOV
struct NetFrame {
  std::span<const iovec> iov;
};

class NetBackend {
 public:
  virtual ~NetBackend() = default;
  // Which one it is, for `info`: "tap", "socket", "stream".
  virtual std::string_view engine() const = 0;
  // What the other end can do for us, and we may be asked to do for it. Constant.
  virtual Offloads offloads() const = 0;
  // What received frames may leave undone from now on: some of offloads().
  virtual Status SetReceiveOffloads(Offloads wanted) = 0;
  // Whether the host sends this pair frames (steering among the pairs of a device). Frames can be
  // sent either way. A backend of one pair ignores it.
  virtual Status SetActive(bool active) = 0;
  // Tells the other end whether the cable is in, where it can be told. The caller drops frames.
  virtual void SetLink(bool up) = 0;

  // What to watch, level-triggered; constant. On any event: Receive until kWouldBlock, and Transmit
  // again what found no room.
  virtual int fd() const = 0;
  // The epoll events to watch fd() for from now on, for one who would receive, or send, or both, or
  // neither; errors and hang-ups come anyway.
  virtual std::uint32_t Interest(bool receive, bool transmit) {
    return (receive ? EPOLLIN : 0u) | (transmit ? EPOLLOUT : 0u);
  }
  // What vhost-net (net/vhost_net.h) can be connected to instead of these calls; -1: nothing.
  virtual int vhost_fd() const { return -1; }
  // Whether somebody is at the other end. May change in Receive and Transmit.
  virtual bool connected() const = 0;

  // Receives one frame. `into[0]` is its header, kHeaderBytes in the caller's own memory; the rest
  // takes the frame. Returns the frame's bytes, without its header. What does not fit is lost, and
  // may show only in a result that is all of the room: leave a byte more than a frame may have.
  virtual std::expected<std::size_t, NetError> Receive(std::span<const iovec> into) = 0;
  // Sends frames in order, at most kMaxBatch. Each one's first piece is its header, as in Receive,
  // and it is not empty behind that. Returns how many are done with; fewer than all means no room:
  // try the rest again when fd() says so. Adds to `failed` how many of those done were lost.
  virtual std::size_t Transmit(std::span<const NetFrame> frames, std::size_t& failed) = 0;
  // Part of a frame that is done with awaits room: call Transmit, with or without frames, when fd()
  // says so.
  virtual bool unsent() const { return false; }
};

}  // namespace gemel::net
