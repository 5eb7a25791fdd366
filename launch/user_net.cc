#include "launch/user_net.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/clock.h"

namespace gemel::launch {
namespace {

constexpr std::string_view kReady = "ready\n";
constexpr std::int64_t kReadyTimeoutMs = 20'000;
constexpr int kBufferBytes = 1 << 20;  // some hundred frames; the host may allow fewer

struct Pair {
  UniqueFd vm, helper;
};

Result<Pair> MakePair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "net: user: socketpair");
  Pair pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
  for (const int end : ends) setsockopt(end, SOL_SOCKET, SO_SNDBUF, &kBufferBytes, sizeof(int));
  // The other end may block: gemel-slirp says for each call that it does not want to.
  if (fcntl(pair.vm.get(), F_SETFL, O_NONBLOCK) != 0)
    return ErrnoError(errno, "net: user: F_SETFL");
  return pair;
}

// All that comes until the other end closes.
Result<std::string> ReadReport(int fd) {
  std::string report;
  std::array<char, 1024> piece;
  const std::int64_t deadline = MonotonicMs() + kReadyTimeoutMs;
  for (;;) {
    pollfd readable{fd, POLLIN, 0};
    const std::int64_t left = deadline - MonotonicMs();
    if (left <= 0)
      return MakeError(Code::kDeadlineExceeded, "net: user: gemel-slirp does not get ready");
    if (poll(&readable, 1, static_cast<int>(left)) <= 0) continue;
    const ssize_t n = read(fd, piece.data(), piece.size());
    if (n <= 0 || report.size() > piece.size()) return report;
    report.append(piece.data(), static_cast<std::size_t>(n));
  }
}

Status WaitUntilReady(ChildProcess& process, int report_fd) {
  ASSIGN_OR_RETURN(const std::string report, ReadReport(report_fd));
  if (report == kReady) return {};
  if (!report.empty()) return MakeError(Code::kInvalidArgument, report);
  process.Kill();
  return Internal("net: user: gemel-slirp {}", DescribeEnd(process.Reap()));
}

}  // namespace

std::string UserNetWords(const NetConfig& net) {
  std::string words = "user,net=" + net.user.net;
  if (net.user.restricted) words += ",restrict=on";
  if (net.mtu != 0) words += fmt::format(",mtu={}", net.mtu);
  for (const HostForward& forward : net.user.forwards)
    words +=
        fmt::format(",hostfwd={}:{}:{}-{}:{}", forward.udp ? "udp" : "tcp", forward.host_address,
                    forward.host_port, forward.guest_address, forward.guest_port);
  return words;
}

Result<UserNet> StartUserNet(const std::string& vm_name, const NetConfig& net) {
  ASSIGN_OR_RETURN(const std::string path,
                   FindProgram("gemel-slirp", "helpers/slirp", "GEMEL_SLIRP"));
  ASSIGN_OR_RETURN(Pair pair, MakePair());
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return ErrnoError(errno, "net: user: pipe");
  const UniqueFd report_end(report[0]);
  ChildFds fds;
  fds.out.Reset(report[1]);
  fds.fds.push_back(std::move(pair.helper));
  ASSIGN_OR_RETURN(
      ChildProcess process,
      ChildProcess::Spawn(
          path, {"gemel-slirp", "--frames-fd", "3", "--name", vm_name, "--net", UserNetWords(net)},
          std::move(fds)));
  RETURN_IF_ERROR(WaitUntilReady(process, report_end.get()));
  return UserNet{std::move(process), std::move(pair.vm)};
}

}  // namespace gemel::launch
