#include "block/iscsi/dial.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/load_le.h"

namespace gemel::block {
namespace {

struct FdBuffer {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

DialState StateOf(ssize_t n, std::size_t wanted) {
  if (n >= 0) return static_cast<std::size_t>(n) == wanted ? DialState::kDone : DialState::kGone;
  return errno == EAGAIN || errno == EWOULDBLOCK ? DialState::kAgain : DialState::kGone;
}

DialState Send(int socket, std::span<std::byte> bytes, int fd) {
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
  return StateOf(n, bytes.size());
}

DialState Receive(int socket, std::span<std::byte> bytes, UniqueFd& fd) {
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  FdBuffer buffer;
  message.msg_control = buffer.bytes.data();
  message.msg_controllen = buffer.bytes.size();
  ssize_t n = -1;
  do {
    n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  const DialState state = StateOf(n, bytes.size());
  if (n < 0) return state;
  const cmsghdr* const c = CMSG_FIRSTHDR(&message);
  if (c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
      c->cmsg_len == CMSG_LEN(sizeof(int))) {
    int received = -1;
    std::memcpy(&received, CMSG_DATA(c), sizeof received);
    fd.Reset(received);
  }
  return (message.msg_flags & MSG_TRUNC) != 0 ? DialState::kGone : state;
}

}  // namespace

DialState SendDialQuestion(int socket) {
  std::array<std::byte, 1> bytes{};
  return Send(socket, bytes, -1);
}

DialState ReceiveDialQuestion(int socket) {
  std::array<std::byte, 1> bytes{};
  UniqueFd nothing;
  return Receive(socket, bytes, nothing);
}

DialState SendDialAnswer(int socket, const Dialed& answer) {
  std::array<std::byte, 4> bytes{};
  StoreLe(std::span(bytes), 0, static_cast<std::uint32_t>(answer.error));
  return Send(socket, bytes, answer.error == 0 ? answer.socket.get() : -1);
}

DialState ReceiveDialAnswer(int socket, Dialed& answer) {
  std::array<std::byte, 4> bytes{};
  UniqueFd fd;
  const DialState state = Receive(socket, bytes, fd);
  if (state != DialState::kDone) return state;
  answer.error = static_cast<int>(LoadLe32(bytes));
  // Without a descriptor where one should be: this process has no number left for it.
  if (answer.error == 0 && !fd) answer.error = EMFILE;
  answer.socket = std::move(fd);
  return DialState::kDone;
}

}  // namespace gemel::block
