#include "net/packet_socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace gemel::net {
namespace {

class PacketSocket final : public NetBackend {
 public:
  explicit PacketSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  std::string_view engine() const override { return "socket"; }
  Offloads offloads() const override { return 0; }
  Status SetReceiveOffloads(Offloads) override { return {}; }
  Status SetActive(bool) override { return {}; }
  void SetLink(bool) override {}
  int fd() const override { return fd_.get(); }
  bool connected() const override { return !gone_; }
  std::expected<std::size_t, NetError> Receive(std::span<const iovec> into) override;
  std::size_t Transmit(std::span<const NetFrame> frames, std::size_t& failed) override;

 private:
  const UniqueFd fd_;
  bool gone_ = false;
  std::array<mmsghdr, kMaxBatch> messages_{};
};

std::expected<std::size_t, NetError> PacketSocket::Receive(std::span<const iovec> into) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(into.data() + 1);  // the kernel only reads it
  message.msg_iovlen = into.size() - 1;
  // MSG_TRUNC: the message's own length, even where it did not fit.
  const ssize_t n = recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_TRUNC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::unexpected(NetError::kWouldBlock);
  if (n <= 0) {  // a frame is never empty: the other end has closed, or is broken
    gone_ = true;
    return std::unexpected(NetError::kClosed);
  }
  std::memset(into[0].iov_base, 0, kHeaderBytes);
  return static_cast<std::size_t>(n);
}

std::size_t PacketSocket::Transmit(std::span<const NetFrame> frames, std::size_t& failed) {
  const std::size_t count = std::min(frames.size(), kMaxBatch);
  for (std::size_t i = 0; i < count; ++i) {
    messages_[i].msg_hdr.msg_iov = const_cast<iovec*>(frames[i].iov.data() + 1);
    messages_[i].msg_hdr.msg_iovlen = frames[i].iov.size() - 1;
  }
  std::size_t done = 0;
  while (done < count) {
    const int sent = sendmmsg(fd_.get(), messages_.data() + done,
                              static_cast<unsigned>(count - done), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN || errno == EINTR) {
      break;
    } else {  // EMSGSIZE, ENOBUFS; EPIPE: nobody is there
      ++failed;
      ++done;
    }
  }
  return done;
}

}  // namespace

std::unique_ptr<NetBackend> AdoptPacketSocket(UniqueFd fd) {
  return std::make_unique<PacketSocket>(std::move(fd));
}

}  // namespace gemel::net
