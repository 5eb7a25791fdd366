// gemel-member and gemel-witness: run etcd on this machine, look after its cluster, and on a node let
// others join. One program under two names; each refuses the other's file, so that a witness is never
// given what is a node's. Says "ready" on its standard output once its socket listens.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_util.h"
#include "base/log.h"
#include "member/admission.h"
#include "member/care.h"
#include "member/etcd_process.h"
#include "member/join_client.h"
#include "member/machine.h"
#include "member/server.h"
#include "member/shared_config.h"

namespace gemel::member {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUse = 2;
#ifdef GEMEL_WITNESS
constexpr std::string_view kName = "gemel-witness";
constexpr cluster::Role kRole = cluster::Role::kWitness;
#else
constexpr std::string_view kName = "gemel-member";
constexpr cluster::Role kRole = cluster::Role::kNode;
#endif

Result<std::string> PathOf(const std::vector<std::string>& words) {
  std::string path(cluster::kClusterConfigPath);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--help" || words[i] == "-h") {
      return MakeError(
          Code::kCancelled,
          fmt::format("usage: {} [--config FILE]\nRuns this machine's member of etcd. FILE "
                      "is {} if not said;\nsee docs/CLUSTER.md.\n",
                      kName, path));
    }
    if (words[i] == "--version")
      return MakeError(Code::kCancelled, fmt::format("{} {}\n", kName, GEMEL_VERSION));
    if (words[i] != "--config" || i + 1 == words.size())
      return InvalidArgument("{}: unknown word; {} --help", words[i], kName);
    path = words[++i];
  }
  return path;
}

Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, path);
}

Result<UniqueFd> Lock(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDWR | O_CREAT));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return FailedPrecondition("{}: another one runs already", path);
  return ErrnoError(errno, path);
}

Result<UniqueFd> WatchSignals(EventLoop* loop) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return ErrnoError(errno, "signalfd");
  RETURN_IF_ERROR(loop->Watch(fd.get(), EPOLLIN, [loop](std::uint32_t) { loop->Stop(); }));
  return fd;
}

std::int64_t Seconds() { return ClockNs(CLOCK_REALTIME) / 1'000'000'000; }

Status Serve(const std::string& path, const cluster::ClusterConfig& given) {
  if (given.role != kRole)
    return InvalidArgument("{}: role: this is {}, for {}s", path, kName,
                           kRole == cluster::Role::kNode ? "node" : "witnesse");
  if (given.member.address.empty() || given.ca.empty() || given.name.empty())
    return InvalidArgument("{}: [member] or [tls]: missing: gemel cluster writes them", path);
  if (kRole == cluster::Role::kWitness && !given.member.authority_key.empty())
    return InvalidArgument("{}: member.authority_key: a witness has none", path);
  RETURN_IF_ERROR(MakeFolder(given.run_dir));
  RETURN_IF_ERROR(MakeFolder(given.state_dir));
  ASSIGN_OR_RETURN(const UniqueFd lock, Lock(given.run_dir + "/member.lock"));
  // etcd's, for its socket of metrics. All paths here are absolute.
  if (chdir(given.run_dir.c_str()) != 0) return ErrnoError(errno, given.run_dir);
  SharedConfig config(path, given);
  ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  ASSIGN_OR_RETURN(const UniqueFd signals, WatchSignals(loop.get()));
  EtcdProcess etcd(loop.get());
  RETURN_IF_ERROR(etcd.Begin(given));
  Care care(
      &config, MachineDigest(),
      [&](const cluster::ClusterConfig& now) { loop->Post([&etcd, now] { etcd.SetConfig(now); }); },
      AskRenew);
  Admission admission(
      &config,
      [&](Admission::Ask ask) {
        cluster::ClusterConfig now = config.Get();
        if (ask == Admission::Ask::kOthers)
          std::ranges::rotate(now.endpoints, now.endpoints.begin() + 1);
        return ConnectToEtcd(now);
      },
      Seconds);
  ASSIGN_OR_RETURN(const auto servers, BeginServers(&config, &admission, &care));
  RETURN_IF_ERROR(care.Begin());
  WriteUnlessFull(STDOUT_FILENO, "ready\n");
  loop->Run();
  etcd.End();
  return {};
}

int Main(const std::vector<std::string>& words) {
  const Result<std::string> path = PathOf(words);
  if (!path) {
    const bool asked = path.error().code == Code::kCancelled;
    WriteUnlessFull(
        asked ? STDOUT_FILENO : STDERR_FILENO,
        asked ? path.error().message : fmt::format("{}: {}\n", kName, path.error().message));
    return asked ? 0 : kWrongUse;
  }
  const Result<cluster::ClusterConfig> config = cluster::ReadClusterConfig(*path);
  if (!config) {
    WriteUnlessFull(STDERR_FILENO, fmt::format("{}: {}\n", kName, config.error().message));
    return kWrongUse;
  }
  SetLogLevel(config->log_level);
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(*path, error);
  const Status served = Serve(error ? *path : absolute, *config);
  if (!served) LOG_UNLIMITED(kError, "member", "{}", served.error().message);
  return served ? 0 : kFailed;
}

}  // namespace
}  // namespace gemel::member

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  setenv("GRPC_VERBOSITY", "NONE", 0);
  // No TLS below 1.3 (grpc/access/server_tls.h says how).
  setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
  // For signalfd; threads that come inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return gemel::member::Main(std::vector<std::string>(argv + 1, argv + argc));
}
