#include "base/fd_message.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace gemel {
namespace {

struct FdBuffer {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

FdMessageState StateOf(ssize_t n, std::size_t wanted) {
  using enum FdMessageState;
  if (n >= 0) return static_cast<std::size_t>(n) == wanted ? kDone : kGone;
  return errno == EAGAIN || errno == EWOULDBLOCK ? kAgain : kGone;
}

}  // namespace

FdMessageState SendFdMessage(int socket, std::span<const std::byte> bytes, int fd) {
  // sendmsg writes nothing there.
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
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
  return StateOf(n, bytes.size());
}

FdMessageState ReceiveFdMessage(int socket, std::span<std::byte> bytes, UniqueFd* fd) {
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
  const FdMessageState state = StateOf(n, bytes.size());
  if (n < 0) return state;
  const cmsghdr* const c = CMSG_FIRSTHDR(&message);
  if (c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
      c->cmsg_len == CMSG_LEN(sizeof(int))) {
    int received = -1;
    std::memcpy(&received, CMSG_DATA(c), sizeof received);
    fd->Reset(received);
  }
  return (message.msg_flags & MSG_TRUNC) != 0 ? FdMessageState::kGone : state;
}

}  // namespace gemel
