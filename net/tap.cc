#include "net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

// Newer than Debian 12's headers.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace gemel::net {
namespace {

unsigned ToTunFlags(Offloads offloads) {
  unsigned flags = 0;
  if ((offloads & kChecksum) == 0) return 0;  // the others are nothing without it
  flags |= TUN_F_CSUM;
  if ((offloads & kTso4) != 0) flags |= TUN_F_TSO4;
  if ((offloads & kTso6) != 0) flags |= TUN_F_TSO6;
  if ((offloads & kTsoEcn) != 0 && (flags & (TUN_F_TSO4 | TUN_F_TSO6)) != 0) flags |= TUN_F_TSO_ECN;
  if ((offloads & kUfo) != 0) flags |= TUN_F_UFO;
  if ((offloads & kUso) != 0) flags |= TUN_F_USO4 | TUN_F_USO6;
  return flags;
}

class Tap final : public NetBackend {
 public:
  Tap(UniqueFd fd, bool has_header, bool multi_queue)
      : fd_(std::move(fd)), has_header_(has_header), multi_queue_(multi_queue) {
    if (has_header_) ProbeOffloads();
  }

  std::string_view engine() const override { return "tap"; }
  Offloads offloads() const override { return offloads_; }
  Status SetReceiveOffloads(Offloads wanted) override;
  Status SetActive(bool active) override;
  // Kernels and interfaces that cannot show a cable pulled go without.
  void SetLink(bool up) override {
    const int carrier = up ? 1 : 0;
    static_cast<void>(ioctl(fd_.get(), TUNSETCARRIER, &carrier));
  }
  int fd() const override { return fd_.get(); }
  int vhost_fd() const override { return has_header_ ? fd_.get() : -1; }
  bool connected() const override { return !gone_; }
  std::expected<std::size_t, NetError> Receive(std::span<const iovec> into) override;
  std::size_t Transmit(std::span<const NetFrame> frames, std::size_t& failed) override;

 private:
  void ProbeOffloads();
  bool TryOffloads(Offloads offloads) {
    return ioctl(fd_.get(), TUNSETOFFLOAD, ToTunFlags(offloads)) == 0;
  }

  const UniqueFd fd_;
  const bool has_header_;
  const bool multi_queue_;
  Offloads offloads_ = 0;
  bool active_ = true;  // as it is opened
  bool gone_ = false;   // the interface was deleted
};

// There is no way to ask.
void Tap::ProbeOffloads() {
  constexpr Offloads kBasic = kChecksum | kTso4 | kTso6 | kTsoEcn;
  if (TryOffloads(kBasic)) {
    offloads_ = kBasic;
    if (TryOffloads(offloads_ | kUfo)) offloads_ |= kUfo;
    if (TryOffloads(offloads_ | kUso)) offloads_ |= kUso;
  } else if (TryOffloads(kChecksum)) {
    offloads_ = kChecksum;
  }
  TryOffloads(0);
}

Status Tap::SetReceiveOffloads(Offloads wanted) {
  if (!has_header_ || TryOffloads(wanted)) return {};
  return ErrnoError(errno, "tap: TUNSETOFFLOAD");
}

Status Tap::SetActive(bool active) {
  if (!multi_queue_ || active == active_) return {};
  ifreq request{};
  request.ifr_flags = active ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
  if (ioctl(fd_.get(), TUNSETQUEUE, &request) != 0) return ErrnoError(errno, "tap: TUNSETQUEUE");
  active_ = active;
  return {};
}

std::expected<std::size_t, NetError> Tap::Receive(std::span<const iovec> into) {
  const std::span<const iovec> wire = has_header_ ? into : into.subspan(1);
  const std::size_t header = has_header_ ? kHeaderBytes : 0;
  const ssize_t n = readv(fd_.get(), wire.data(), static_cast<int>(wire.size()));
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return std::unexpected(NetError::kWouldBlock);
    // EBADFD: the interface is gone, and the descriptor is good for nothing (tun_chr_read_iter).
    gone_ = gone_ || errno == EBADFD || errno == ENODEV;
    return std::unexpected(gone_ ? NetError::kClosed : NetError::kFailed);
  }
  const auto bytes = static_cast<std::size_t>(n);
  if (bytes < header) return std::unexpected(NetError::kFailed);
  if (!has_header_) std::memset(into[0].iov_base, 0, kHeaderBytes);
  return bytes - header;
}

std::size_t Tap::Transmit(std::span<const NetFrame> frames, std::size_t& failed) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const std::span<const iovec> wire = has_header_ ? frames[i].iov : frames[i].iov.subspan(1);
    if (writev(fd_.get(), wire.data(), static_cast<int>(wire.size())) >= 0) continue;
    if (errno == EAGAIN || errno == EINTR) return i;
    ++failed;  // EIO: the interface is down; EINVAL: a header that the kernel does not like
  }
  return frames.size();
}

}  // namespace

Result<std::unique_ptr<NetBackend>> AdoptTap(UniqueFd fd) {
  ifreq interface{};
  if (ioctl(fd.get(), TUNGETIFF, &interface) != 0)
    return ErrnoError(errno, "not the descriptor of a tap interface");
  const int flags = interface.ifr_flags;
  if ((flags & IFF_TAP) == 0) return InvalidArgument("a tun interface: it has no Ethernet frames");
  if ((flags & IFF_NO_PI) == 0) return InvalidArgument("a tap that was opened without IFF_NO_PI");
  const bool has_header = (flags & IFF_VNET_HDR) != 0;
  const int header_bytes = kHeaderBytes;
  if (has_header && ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0)
    return ErrnoError(errno, "tap: TUNSETVNETHDRSZ");
  const int old = fcntl(fd.get(), F_GETFL);
  if (old < 0 || fcntl(fd.get(), F_SETFL, old | O_NONBLOCK) != 0)
    return ErrnoError(errno, "tap: F_SETFL");
  return std::make_unique<Tap>(std::move(fd), has_header, (flags & IFF_MULTI_QUEUE) != 0);
}

}  // namespace gemel::net
