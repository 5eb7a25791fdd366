#include "block/iscsi/host_calls.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>

#include "base/check.h"

namespace gemel::block {
namespace {

thread_local HostCalls* current = nullptr;

// libiscsi reads up to 255 bytes behind sense data, as a target says (parse_sense_descriptors).
constexpr std::size_t kPadding = 512;

ssize_t Ended(ssize_t n) {
  if (n > 0) return n;
  if (n == 0) HostCalls::Current().Break("the target closed the connection");
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
    HostCalls::Current().Break(errno == ECONNRESET ? "the target reset the connection"
                                                   : "the connection failed");
  return n;
}

ssize_t Foul() {
  HostCalls::Current().Break("the target broke the iSCSI protocol");
  errno = EPROTO;
  return -1;
}

}  // namespace

HostCalls::Scope::Scope(HostCalls& calls) : before_(current) { current = &calls; }
HostCalls::Scope::~Scope() { current = before_; }

HostCalls& HostCalls::Current() {
  CHECK(current != nullptr);
  return *current;
}

// The names are those that the archive's copy asks for.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

int gemel_iscsi_getaddrinfo(const char*, const char*, const addrinfo*, addrinfo** out) {
  static sockaddr_in nowhere = {AF_INET, 0, {}, {}};
  static addrinfo answer{};
  answer.ai_family = AF_INET;
  answer.ai_addrlen = sizeof nowhere;
  // SAFETY: a sockaddr is what every sockaddr_in begins with (POSIX, sys/socket.h).
  answer.ai_addr = reinterpret_cast<sockaddr*>(&nowhere);
  *out = &answer;
  return 0;
}
void gemel_iscsi_freeaddrinfo(addrinfo*) {}

int gemel_iscsi_socket(int, int, int) { return HostCalls::Current().socket(); }
int gemel_iscsi_close(int) { return 0; }
int gemel_iscsi_connect(int, const sockaddr*, socklen_t) { return 0; }
int gemel_iscsi_setsockopt(int, int, int, const void*, socklen_t) { return 0; }
int gemel_iscsi_fcntl(int, int, ...) { return 0; }  // it is not blocking already
int gemel_iscsi_getsockname(int, sockaddr*, socklen_t*) { return -1; }

int gemel_iscsi_getsockopt(int, int, int, void* value, socklen_t* length) {
  std::memset(value, 0, *length);  // SO_ERROR: it is connected
  return 0;
}

ssize_t gemel_iscsi_recv(int fd, void* buffer, std::size_t size, int) {
  const ssize_t n = recv(fd, buffer, size, MSG_DONTWAIT);
  if (n <= 0) return Ended(n);
  const auto count = static_cast<std::size_t>(n);
  HostCalls& calls = HostCalls::Current();
  calls.CountReceived(count);
  if (!calls.guard().Feed({static_cast<const std::byte*>(buffer), count})) return Foul();
  return n;
}

ssize_t gemel_iscsi_readv(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<std::size_t>(count);
  const ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
  if (n <= 0) return Ended(n);
  HostCalls& calls = HostCalls::Current();
  calls.CountReceived(static_cast<std::uint64_t>(n));
  if (!calls.guard().Skip(static_cast<std::size_t>(n))) return Foul();
  return n;
}

ssize_t gemel_iscsi_send(int fd, const void* buffer, std::size_t size, int) {
  return Ended(send(fd, buffer, size, MSG_NOSIGNAL | MSG_DONTWAIT));
}

// writev would raise SIGPIPE.
ssize_t gemel_iscsi_writev(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<std::size_t>(count);
  return Ended(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

// Of its own reconnecting, which is off, and of its random numbers, which we do not use.
int gemel_iscsi_dup2(int, int) { return -1; }
int gemel_iscsi_open(const char*, int, ...) { return -1; }
char* gemel_iscsi_getenv(const char*) { return nullptr; }
void gemel_iscsi_no_rdma(void*) {}

void* gemel_iscsi_malloc(std::size_t size) {
  if (size > SIZE_MAX - kPadding) return nullptr;
  return std::calloc(1, size + kPadding);
}
void* gemel_iscsi_realloc(void* memory, std::size_t size) {
  if (size > SIZE_MAX - kPadding) return nullptr;
  return std::realloc(memory, size + kPadding);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

}  // namespace gemel::block
