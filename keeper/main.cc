// gemel-keeper: keeps this node's session in the cluster, and the deadline page of its machines. A
// program of its own, since it must run on when gemeld crashes, restarts or is upgraded. Says "ready"
// on its standard output once its socket listens.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "base/file_util.h"
#include "base/log.h"
#include "cluster/page/page_memory.h"
#include "etcd/config_follower.h"
#include "etcd/grpc_kv.h"
#include "etcd/kv_store.h"
#include "keeper/config.h"
#include "keeper/keeper.h"
#include "keeper/memory_file.h"
#include "keeper/program_rules.h"
#include "keeper/real_time.h"
#include "keeper/server.h"

namespace gemel::keeper {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUse = 2;

// Goes off at a moment of CLOCK_BOOTTIME: at once after a suspend that was longer.
class Alarm {
 public:
  Status Begin(EventLoop* loop, std::function<void()> fire) {
    fd_.Reset(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd_) return ErrnoError(errno, "timerfd_create");
    return loop->Watch(fd_.get(), EPOLLIN, [this, fire = std::move(fire)](std::uint32_t) {
      std::uint64_t times = 0;
      if (read(fd_.get(), &times, sizeof times) > 0) fire();
    });
  }
  void Set(cluster::Time at) {
    itimerspec spec{};
    const std::int64_t us = std::max<std::int64_t>(at.us, 1);
    spec.it_value = {us / 1'000'000, (us % 1'000'000) * 1000};
    static_cast<void>(timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr));
  }

 private:
  UniqueFd fd_;
};

// One keeper a node: two would end each other's sessions in turn.
Result<UniqueFd> Lock(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDWR | O_CREAT));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK)
    return FailedPrecondition("{}: another gemel-keeper runs for this node", path);
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

Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, path);
}

ViewMessage Message(const Keeper& keeper) {
  ViewMessage message{keeper.view(), {}};
  if (keeper.page() == nullptr) return message;
  Result<UniqueFd> page = keeper.page()->OpenForReader();
  if (page) {
    message.page = std::move(*page);
  } else {
    LOG(kError, "keeper", "{}", page.error().message);
  }
  return message;
}

Status Serve(const std::string& path, const cluster::ClusterConfig& config) {
  RETURN_IF_ERROR(MakeFolder(config.run_dir));
  RETURN_IF_ERROR(MakeFolder(config.state_dir));
  ASSIGN_OR_RETURN(const UniqueFd lock, Lock(config.run_dir + "/keeper.lock"));
  const std::string memory_path = config.state_dir + "/memory";
  ASSIGN_OR_RETURN(const MemoryState remembered, MemoryFile::Read(memory_path));
  ASSIGN_OR_RETURN(const etcd::GrpcKvOptions options, etcd::OptionsOf(config));
  ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  ASSIGN_OR_RETURN(const UniqueFd signals, WatchSignals(loop.get()));
  ASSIGN_OR_RETURN(const auto memory, MemoryFile::Create(loop.get(), memory_path));
  ASSIGN_OR_RETURN(const auto kv, etcd::CreateGrpcKv(loop.get(), options));
  etcd::ConfigFollower follower(loop.get(), kv.get(), path, config);
  const SystemClock clock;
  etcd::KvStore store(loop.get(), kv.get(), &clock, {.scope = etcd::Scope::kNodes});
  Alarm alarm;
  std::unique_ptr<Server> server;
  Keeper keeper(config.node, remembered,
                {&store, memory.get(), cluster::BootTime, [&](cluster::Time at) { alarm.Set(at); },
                 [&] {
                   if (server) server->Tell();
                 },
                 ProgramRules()});
  RETURN_IF_ERROR(alarm.Begin(loop.get(), [&] { keeper.Run(); }));
  ASSIGN_OR_RETURN(server, Server::Create(loop.get(), config.run_dir + "/keeper.sock",
                                          {[&](const Statement& said) { keeper.OnStatement(said); },
                                           [&] { return Message(keeper); }}));
  keeper.Begin();
  follower.Begin();
  WriteUnlessFull(STDOUT_FILENO, "ready\n");
  loop->Run();
  keeper.End();
  return {};
}

int Main(const std::vector<std::string>& words) {
  const Result<Config> config = ReadConfig(words);
  if (!config) {
    const bool asked = config.error().code == Code::kCancelled;
    WriteUnlessFull(
        asked ? STDOUT_FILENO : STDERR_FILENO,
        asked ? config.error().message : fmt::format("gemel-keeper: {}\n", config.error().message));
    return asked ? 0 : kWrongUse;
  }
  SetLogLevel(config->cluster.log_level);
  for (const std::string& line : AskForRealTime()) LOG_UNLIMITED(kWarning, "keeper", "{}", line);
  if (const Status served = Serve(config->path, config->cluster); !served) {
    LOG_UNLIMITED(kError, "keeper", "{}", served.error().message);
    return kFailed;
  }
  return 0;
}

}  // namespace
}  // namespace gemel::keeper

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  // For signalfd; threads that come inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return gemel::keeper::Main(std::vector<std::string>(argv + 1, argv + argc));
}
