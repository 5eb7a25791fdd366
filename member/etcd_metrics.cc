#include "member/etcd_metrics.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace gemel::member {
namespace {

constexpr std::string_view kFsync = "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"";
constexpr std::string_view kCommit = "etcd_disk_backend_commit_duration_seconds_bucket{le=\"";
constexpr std::string_view kLeaders = "etcd_server_leader_changes_seen_total ";
constexpr std::size_t kMostAnswer = 4 << 20;
constexpr std::int64_t kPatienceMs = 1'000;
constexpr std::int64_t kWindowMs = 60'000;

double NumberIn(std::string_view text) {
  double number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// 0.001"} 17
void AddBucket(std::string_view rest, Histogram& to) {
  const std::size_t quote = rest.find("\"} ");
  if (quote == std::string_view::npos) return;
  const std::string_view bound = rest.substr(0, quote);
  const double count = NumberIn(rest.substr(quote + 3));
  // The endless one is as the largest bound, doubled: it is a time to be shown.
  const double last = to.buckets.empty() ? 0 : to.buckets.back().seconds;
  const double seconds = bound == "+Inf" ? 2 * last : NumberIn(bound);
  if (count < 0 || seconds < last) return;
  to.buckets.push_back({seconds, static_cast<std::uint64_t>(count)});
}

Result<UniqueFd> Connect(const std::string& path) {
  sockaddr_un place{};
  place.sun_family = AF_UNIX;
  if (path.size() >= sizeof place.sun_path) return InvalidArgument("{}: too long", path);
  std::memcpy(place.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoError(errno, "socket");
  // SAFETY: the kernel's address types are made to be cast so.
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0)
    return ErrnoError(errno, path);
  return fd;
}

}  // namespace

Result<EtcdMetrics> ParseEtcdMetrics(std::string_view text) {
  EtcdMetrics metrics;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
    if (line.starts_with(kFsync)) AddBucket(line.substr(kFsync.size()), metrics.fsync);
    if (line.starts_with(kCommit)) AddBucket(line.substr(kCommit.size()), metrics.commit);
    if (line.starts_with(kLeaders))
      metrics.leader_changes =
          static_cast<std::uint64_t>(std::clamp(NumberIn(line.substr(kLeaders.size())), 0.0, 1e15));
  }
  if (metrics.fsync.buckets.empty()) return InvalidArgument("etcd's metrics: none of its log");
  return metrics;
}

Result<EtcdMetrics> ReadEtcdMetrics(const std::string& socket) {
  ASSIGN_OR_RETURN(const UniqueFd fd, Connect(socket));
  constexpr std::string_view kRequest =
      "GET /metrics HTTP/1.0\r\nHost: etcd\r\nConnection: close\r\n\r\n";
  if (send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(kRequest.size()))
    return ErrnoError(errno, socket);
  const std::int64_t end = MonotonicMs() + kPatienceMs;
  std::string answer;
  std::vector<char> piece(64 << 10);
  for (;;) {
    pollfd ready{fd.get(), POLLIN, 0};
    const std::int64_t left = end - MonotonicMs();
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) <= 0)
      return MakeError(Code::kDeadlineExceeded, socket + ": no answer");
    const ssize_t got = read(fd.get(), piece.data(), piece.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return ErrnoError(errno, socket);
    if (got == 0) break;
    answer.append(piece.data(), static_cast<std::size_t>(got));
    if (answer.size() > kMostAnswer) return InvalidArgument("{}: too long an answer", socket);
  }
  return ParseEtcdMetrics(answer);
}

std::int64_t P99Us(const Histogram& before, const Histogram& now) {
  const auto since = [&](std::size_t i) {
    const std::uint64_t old = i < before.buckets.size() ? before.buckets[i].count : 0;
    return now.buckets[i].count - std::min(old, now.buckets[i].count);
  };
  if (now.buckets.empty()) return 0;
  const std::uint64_t all = since(now.buckets.size() - 1);
  if (all == 0) return 0;
  for (std::size_t i = 0; i < now.buckets.size(); ++i)
    if (since(i) >= all - all / 100) return static_cast<std::int64_t>(now.buckets[i].seconds * 1e6);
  return 0;
}

void EtcdWatch::Add(const EtcdMetrics& metrics, std::int64_t now_ms) {
  // etcd began anew: it counts from nothing.
  const bool anew =
      !samples_.empty() && !metrics.fsync.buckets.empty() &&
      !samples_.back().metrics.fsync.buckets.empty() &&
      metrics.fsync.buckets.back().count < samples_.back().metrics.fsync.buckets.back().count;
  if (anew) samples_.clear();
  samples_.push_back({now_ms, metrics});
  // The first one is from a minute ago, or as long ago as there is any.
  while (samples_.size() > 2 && now_ms - samples_[1].at_ms >= kWindowMs) samples_.pop_front();
}

std::int64_t EtcdWatch::fsync_p99_us() const {
  if (samples_.empty()) return 0;
  return P99Us(samples_.front().metrics.fsync, samples_.back().metrics.fsync);
}

std::int64_t EtcdWatch::commit_p99_us() const {
  if (samples_.empty()) return 0;
  return P99Us(samples_.front().metrics.commit, samples_.back().metrics.commit);
}

std::uint64_t EtcdWatch::leader_changes() const {
  return samples_.empty() ? 0 : samples_.back().metrics.leader_changes;
}

}  // namespace gemel::member
