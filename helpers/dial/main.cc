// gemel-dial: connects a disk of a virtual machine to its iSCSI target, whenever it is asked
// (block/iscsi/dial.h). Started by `gemel run` or the daemon, never by hand:
//   gemel-dial FD HOST PORT
// Ends when the VM closes its end of the socket FD. The VM's process itself has no network.
#include <arpa/inet.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

#include "base/unique_fd.h"
#include "block/iscsi/dial.h"

namespace gemel::dial {
namespace {

constexpr int kConnectMs = 3'000;  // for each address of the host
constexpr uid_t kNobody = 65534;

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { freeaddrinfo(addresses); }
};

// What connecting needs no rights for is done without any. Whoever is not root has few already.
void GiveUpRights() {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (geteuid() != 0) return;
  if (setgroups(0, nullptr) == 0 && setresgid(kNobody, kNobody, kNobody) == 0)
    static_cast<void>(setresuid(kNobody, kNobody, kNobody) == 0);
}

// errno, or 0: the connection is there.
int WaitForConnection(int fd) {
  pollfd writable{fd, POLLOUT, 0};
  int n = -1;
  do {
    n = poll(&writable, 1, kConnectMs);
  } while (n < 0 && errno == EINTR);
  if (n == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

void SetOptions(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  // Closing is for good: what the kernel has not sent by then is dropped, not delivered later.
  const linger abort{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  const int idle_s = 10;
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
}

block::Dialed Connect(const addrinfo& address) {
  block::Dialed result;
  result.socket.Reset(
      socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol));
  if (!result.socket) return {errno, {}};
  SetOptions(result.socket.get());
  result.error = 0;
  if (connect(result.socket.get(), address.ai_addr, address.ai_addrlen) != 0)
    result.error = errno == EINPROGRESS ? WaitForConnection(result.socket.get()) : errno;
  return result;
}

int ErrnoOf(int error) {
  switch (error) {
    case EAI_SYSTEM:
      return errno;
    case EAI_AGAIN:
      return EAGAIN;
    case EAI_MEMORY:
      return ENOMEM;
    default:
      return EHOSTUNREACH;
  }
}

// The name is looked up each time: a target may move.
block::Dialed Dial(const char* host, const char* port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host, port, &hints, &found); error != 0)
    return {ErrnoOf(error), {}};
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
  block::Dialed result{EHOSTUNREACH, {}};
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    result = Connect(*address);
    if (result.error == 0) break;
  }
  return result;
}

int Serve(int socket, const char* host, const char* port) {
  GiveUpRights();
  while (true) {
    pollfd readable{socket, POLLIN, 0};
    if (poll(&readable, 1, -1) < 0 && errno != EINTR) return 1;
    const block::DialState asked = block::ReceiveDialQuestion(socket);
    if (asked == block::DialState::kGone) return 0;
    if (asked != block::DialState::kDone) continue;
    if (block::SendDialAnswer(socket, Dial(host, port)) == block::DialState::kGone) return 0;
  }
}

}  // namespace
}  // namespace gemel::dial

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  int socket = -1;
  if (argc == 4) {
    const std::string_view word = argv[1];
    std::from_chars(word.data(), word.data() + word.size(), socket);
  }
  if (socket < 0) return 2;
  return gemel::dial::Serve(socket, argv[2], argv[3]);
}
