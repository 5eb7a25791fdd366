#include "member/etcd_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/log.h"
#include "member/etcd_words.h"

namespace gemel::member {
namespace {

constexpr std::int64_t kFirstPauseMs = 200;
constexpr std::int64_t kMostPauseMs = 30'000;
// One that ran for so long ended for a reason of its own.
constexpr std::int64_t kLongLifeMs = 60'000;
constexpr int kEndMs = 5'000;

// One of a gemel-member that was killed holds the data and the ports.
void EndOrphan(const std::string& folder) {
  const Result<std::string> text = ReadTextFile(folder + ".pid");
  if (!text) return;
  int pid = 0;
  std::from_chars(text->c_str(), text->c_str() + text->size(), pid);
  const Result<std::string> words = ReadTextFile(fmt::format("/proc/{}/cmdline", pid));
  if (pid <= 1 || !words || words->find(folder) == std::string::npos) return;
  LOG_UNLIMITED(kWarning, "member", "etcd of an earlier gemel-member still runs (pid {}): ended",
                pid);
  kill(pid, SIGTERM);
  for (int i = 0; i < 100 && kill(pid, 0) == 0; ++i) poll(nullptr, 0, kEndMs / 100);
}

}  // namespace

EtcdProcess::~EtcdProcess() {
  if (process_ && process_->alive()) loop_->Unwatch(process_->pidfd());
}

Status EtcdProcess::Begin(const cluster::ClusterConfig& config) {
  config_ = config;
  if (config.member.initial_state == kClientState) return {};
  const std::string folder = EtcdFolder(config);
  std::error_code error;
  const bool data = std::filesystem::exists(folder + "/member", error);
  // One that lost its memory must not vote under its old name: what it voted for might be undone.
  if (!data && config.member.initial_state.empty()) {
    return FailedPrecondition(
        "{}: etcd's data is gone: on another member, gemel cluster replace {}; then join anew",
        folder, config.name);
  }
  EndOrphan(folder);
  Start();
  return {};
}

void EtcdProcess::Start() {
  started_ms_ = MonotonicMs();
  std::error_code error;
  const bool revocations = std::filesystem::exists(RevocationFile(config_), error);
  auto started =
      launch::ChildProcess::Spawn(config_.member.etcd, EtcdWords(config_, revocations), {});
  if (!started) {
    LOG(kError, "member", "etcd: {}", started.error().message);
    OnEnd();
    return;
  }
  process_.emplace(std::move(*started));
  const std::string pid_file = EtcdFolder(config_) + ".pid";
  if (const Status written = ReplaceFile(pid_file, fmt::format("{}\n", process_->pid())); !written)
    LOG(kWarning, "member", "{}", written.error().message);
  const int pidfd = process_->pidfd();
  const Status watched = loop_->Watch(pidfd, EPOLLIN, [this](std::uint32_t) {
    loop_->Unwatch(process_->pidfd());
    LOG(kError, "member", "etcd {}", launch::DescribeEnd(process_->Reap()));
    process_.reset();
    OnEnd();
  });
  if (!watched) LOG(kError, "member", "etcd: {}", watched.error().message);
}

void EtcdProcess::OnEnd() {
  const bool long_life = MonotonicMs() - started_ms_ > kLongLifeMs;
  pause_ms_ = pause_ms_ == 0 || long_life ? kFirstPauseMs : std::min(2 * pause_ms_, kMostPauseMs);
  const Status set = timer_.Start(loop_, pause_ms_, [this] { Start(); });
  if (!set) LOG(kError, "member", "etcd: {}", set.error().message);
}

void EtcdProcess::End() {
  if (!process_ || !process_->alive()) return;
  loop_->Unwatch(process_->pidfd());
  process_->Signal(SIGTERM);
  pollfd ended{process_->pidfd(), POLLIN, 0};
  if (poll(&ended, 1, kEndMs) <= 0) process_->Kill();
  process_->Reap();
  process_.reset();
}

}  // namespace gemel::member
