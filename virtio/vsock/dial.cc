#include "virtio/vsock/dial.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/load_le.h"

namespace gemel::virtio {
namespace {

using Bytes = std::array<std::byte, 8>;

struct FdBuffer {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

Bytes Encode(std::uint32_t first, std::uint32_t second) {
  Bytes bytes{};
  StoreLe(std::span(bytes), 0, first);
  StoreLe(std::span(bytes), 4, second);
  return bytes;
}

VsockDialState StateOf(ssize_t n) {
  if (n == std::ssize(Bytes{})) return VsockDialState::kDone;
  return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? VsockDialState::kAgain
                                                            : VsockDialState::kGone;
}

VsockDialState Send(int socket, Bytes bytes, int fd) {
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  FdBuffer buffer;
  if (fd >= 0) {
    message.msg_control = buffer.bytes.data();
    message.msg_controllen = buffer.bytes.size();
    cmsghdr* const c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  ssize_t n = -1;
  do {
    n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return StateOf(n);
}

VsockDialState Receive(int socket, Bytes& bytes, UniqueFd* fd) {
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  FdBuffer buffer;
  message.msg_control = buffer.bytes.data();
  message.msg_controllen = fd != nullptr ? buffer.bytes.size() : 0;
  ssize_t n = -1;
  do {
    n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return StateOf(n);
  const cmsghdr* const c = CMSG_FIRSTHDR(&message);
  if (fd != nullptr && c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
      c->cmsg_len == CMSG_LEN(sizeof(int))) {
    int received = -1;
    std::memcpy(&received, CMSG_DATA(c), sizeof received);
    fd->Reset(received);
  }
  return (message.msg_flags & MSG_TRUNC) != 0 ? VsockDialState::kGone : StateOf(n);
}

}  // namespace

VsockDialState SendDialRequest(int socket, const VsockDialRequest& request) {
  return Send(socket, Encode(request.id, request.port), -1);
}

VsockDialState ReceiveDialRequest(int socket, VsockDialRequest& request) {
  Bytes bytes{};
  const VsockDialState state = Receive(socket, bytes, nullptr);
  if (state == VsockDialState::kDone) request = {LoadLe32(bytes, 0), LoadLe32(bytes, 4)};
  return state;
}

VsockDialState SendDialReply(int socket, const VsockDialReply& reply) {
  return Send(socket, Encode(reply.id, static_cast<std::uint32_t>(reply.error)),
              reply.error == 0 ? reply.fd.get() : -1);
}

VsockDialState ReceiveDialReply(int socket, VsockDialReply& reply) {
  Bytes bytes{};
  UniqueFd fd;
  const VsockDialState state = Receive(socket, bytes, &fd);
  if (state != VsockDialState::kDone) return state;
  reply.id = LoadLe32(bytes, 0);
  reply.error = static_cast<int>(LoadLe32(bytes, 4));
  // Without a descriptor where one should be: this process has no number left for it.
  if (reply.error == 0 && !fd) reply.error = EMFILE;
  reply.fd = std::move(fd);
  return VsockDialState::kDone;
}

}  // namespace gemel::virtio
