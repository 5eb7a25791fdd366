#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/log.h"
#include "hostnet/name_servers.h"
#include "hostnet/names.h"
#include "hostnet/process_scan.h"

namespace gemel::hostnet {
namespace {

constexpr std::string_view kComponent = "dnsmasq";
constexpr const char* kSetpriv = "/usr/bin/setpriv";
constexpr int kSearches = 20;
constexpr int kSearchPauseMs = 10;
constexpr int kReadyMs = 10'000;
constexpr int kLongestPauseS = 60;
// ARP entries for clients without an address; ports 53 and 67; SO_BINDTODEVICE.
constexpr const char* kCapabilities = "-all,+net_admin,+net_bind_service,+net_raw";

struct Server {
  NameServerWish wish;
  std::optional<FoundProcess> process;
  UniqueFd timer;  // until it is started again
  int pause_s = 1;
  std::int64_t since_ms = 0;  // it serves
  std::string problem;
};

class Dnsmasq : public NameServers {
 public:
  Dnsmasq(DnsmasqOptions options, EventLoop* loop) : options_(std::move(options)), loop_(loop) {}
  ~Dnsmasq() override {
    for (auto& [id, server] : servers_) Forget(server);
  }

  DnsmasqFiles Files(const std::string& id) const override {
    return DnsmasqFiles{fmt::format("{}/{}", options_.folder, id)};
  }
  Status KeepOnly(const std::vector<std::string>& ids) override;
  Status Serve(const NameServerWish& wish) override;
  Result<std::vector<Lease>> Leases(const std::string& id) override;
  std::string Problem(const std::string& id) const override {
    const auto found = servers_.find(id);
    return found == servers_.end() ? std::string() : found->second.problem;
  }
  std::vector<std::string> TakeEnded() override { return std::exchange(ended_, {}); }

 private:
  uid_t UserOf(const std::string& id) const {
    return options_.first_user + static_cast<uid_t>(StableHash(id) & 0xffff);
  }
  std::string Argument(const std::string& id) const { return "--conf-file=" + Files(id).config(); }
  // The one that runs for `id`; ends what is more than one, or not as it should be.
  Result<std::optional<FoundProcess>> FindOne(const std::string& id);
  // Servers, and what is about to become one.
  Result<std::vector<FoundProcess>> Find(const std::string& beginning) const {
    return FindProcesses({options_.program, kSetpriv}, beginning);
  }
  Status MakeFolder(const std::string& id);
  Status Begin(Server& server);
  Status Follow(Server& server);
  void Watch(Server& server);
  void Forget(Server& server);
  void OnEnd(const std::string& id);
  void StartLater(Server& server);

  DnsmasqOptions options_;
  EventLoop* loop_;
  std::map<std::string, Server> servers_;
  std::vector<std::string> ended_;
};

void Dnsmasq::Forget(Server& server) {
  if (server.process) loop_->Unwatch(server.process->pidfd.get());
  if (server.timer) loop_->Unwatch(server.timer.get());
  server.timer.Reset();
}

Status Dnsmasq::KeepOnly(const std::vector<std::string>& ids) {
  const std::set<std::string> kept(ids.begin(), ids.end());
  for (auto at = servers_.begin(); at != servers_.end();) {
    const bool stays = kept.contains(at->first);
    if (!stays) Forget(at->second);
    at = stays ? std::next(at) : servers_.erase(at);
  }
  const std::string beginning = fmt::format("--conf-file={}/", options_.folder);
  // One that a daemon was killed over may be on its way into the background, as another process.
  bool again = true;
  for (int turn = 0; again && turn < kSearches; ++turn) {
    again = false;
    ASSIGN_OR_RETURN(const auto processes, Find(beginning));
    for (const FoundProcess& process : processes) {
      const std::string rest = process.argument.substr(beginning.size());
      if (kept.contains(rest.substr(0, rest.find('/')))) continue;
      RETURN_IF_ERROR(EndProcess(process));
      again = true;
    }
  }
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder, problem))
    if (!kept.contains(entry.path().filename().string()))
      std::filesystem::remove_all(entry.path(), problem);
  if (problem) return ErrnoError(problem.value(), options_.folder);
  return {};
}

Result<std::optional<FoundProcess>> Dnsmasq::FindOne(const std::string& id) {
  for (int turn = 0; turn < kSearches; ++turn) {
    ASSIGN_OR_RETURN(auto processes, Find(Argument(id)));
    const bool settled = processes.size() == 1 && processes[0].user == UserOf(id) &&
                         processes[0].program != kSetpriv;
    if (processes.empty()) return std::nullopt;
    if (settled) return std::move(processes[0]);
    // Several are one on its way into the background, or two after a daemon was killed: then none
    // is known to serve.
    if (turn < kSearches / 2) {
      static_cast<void>(poll(nullptr, 0, kSearchPauseMs));
      continue;
    }
    for (const FoundProcess& process : processes) RETURN_IF_ERROR(EndProcess(process));
  }
  return MakeError(Code::kUnavailable, fmt::format("{}: servers come and go", id));
}

Status Dnsmasq::MakeFolder(const std::string& id) {
  const DnsmasqFiles files = Files(id);
  if (mkdir(files.folder.c_str(), 0711) != 0 && errno != EEXIST)
    return ErrnoError(errno, files.folder);
  // Whatever the umask says: its user has to get in.
  if (chmod(files.folder.c_str(), 0711) != 0) return ErrnoError(errno, files.folder);
  ASSIGN_OR_RETURN(const UniqueFd leases,
                   OpenFile(files.leases(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (fchown(leases.get(), UserOf(id), UserOf(id)) != 0) return ErrnoError(errno, files.leases());
  return {};
}

// The configuration is on disk and nothing runs.
Status Dnsmasq::Begin(Server& server) {
  const std::string& id = server.wish.id;
  const std::string user = std::to_string(UserOf(id));
  // It goes to the background once it serves, or fails and says why.
  ASSIGN_OR_RETURN(
      const int status,
      RunProgram({kSetpriv, "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs",
                  fmt::format("--inh-caps={}", kCapabilities),
                  fmt::format("--ambient-caps={}", kCapabilities),
                  fmt::format("--bounding-set={}", kCapabilities), options_.program, Argument(id)},
                 Files(id).errors(), kReadyMs));
  if (status != 0) {
    std::string text = ReadTextFile(Files(id).errors(), 4096).value_or(std::string());
    std::ranges::replace(text, '\n', ' ');
    return FailedPrecondition("dnsmasq ended with status {}: {}", status, text);
  }
  ASSIGN_OR_RETURN(server.process, FindOne(id));
  if (!server.process) return MakeError(Code::kUnavailable, "dnsmasq ended as soon as it served");
  return {};
}

// Process and files as wished.
Status Dnsmasq::Follow(Server& server) {
  const NameServerWish& wish = server.wish;
  const DnsmasqFiles files = Files(wish.id);
  RETURN_IF_ERROR(MakeFolder(wish.id));
  if (!server.process) {
    ASSIGN_OR_RETURN(server.process, FindOne(wish.id));
  }
  // What runs, runs with what is on disk: it ends before that changes.
  const auto before = ReadTextFile(files.config());
  if (server.process && (!before || *before != wish.config)) {
    RETURN_IF_ERROR(EndProcess(*server.process));
    server.process.reset();
  }
  if (!before || *before != wish.config)
    RETURN_IF_ERROR(ReplaceFile(files.config(), wish.config, 0644));
  RETURN_IF_ERROR(ReplaceFile(files.hosts(), wish.hosts, 0644));
  RETURN_IF_ERROR(ReplaceFile(files.names(), wish.names, 0644));
  if (!server.process) return Begin(server);
  if (syscall(SYS_pidfd_send_signal, server.process->pidfd.get(), SIGHUP, nullptr, 0) == 0)
    return {};
  if (errno != ESRCH) return ErrnoError(errno, "dnsmasq: SIGHUP");
  server.process.reset();
  return Begin(server);
}

Status Dnsmasq::Serve(const NameServerWish& wish) {
  Server& server = servers_[wish.id];
  if (server.process && server.wish == wish) return {};
  Forget(server);
  server.wish = wish;
  auto followed = Follow(server);
  server.problem = followed ? std::string() : followed.error().message;
  Watch(server);
  return followed;
}

void Dnsmasq::Watch(Server& server) {
  if (!server.process) return StartLater(server);
  server.since_ms = MonotonicMs();
  auto watched = loop_->Watch(server.process->pidfd.get(), EPOLLIN,
                              [this, id = server.wish.id](std::uint32_t) { OnEnd(id); });
  if (!watched) server.problem = watched.error().message;
}

void Dnsmasq::OnEnd(const std::string& id) {
  Server& server = servers_.at(id);
  if (MonotonicMs() - server.since_ms > std::int64_t{kLongestPauseS} * 1000) server.pause_s = 1;
  LOG(kWarning, kComponent, "{}: process {} has ended; it is started again in {} s", id,
      server.process->pid, server.pause_s);
  if (std::ranges::find(ended_, id) == ended_.end()) ended_.push_back(id);
  Forget(server);
  server.process.reset();
  server.problem = "dnsmasq has ended; it is started again";
  StartLater(server);
}

void Dnsmasq::StartLater(Server& server) {
  server.timer = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  itimerspec when{};
  when.it_value.tv_sec = server.pause_s;
  server.pause_s = std::min(server.pause_s * 2, kLongestPauseS);
  if (!server.timer || timerfd_settime(server.timer.get(), 0, &when, nullptr) != 0) {
    server.problem = ErrnoError(errno, "timer").error().message;
    return;
  }
  auto watched =
      loop_->Watch(server.timer.get(), EPOLLIN, [this, id = server.wish.id](std::uint32_t) {
        Server& again = servers_.at(id);
        Forget(again);
        auto followed = Follow(again);
        again.problem = followed ? std::string() : followed.error().message;
        Watch(again);
      });
  if (!watched) server.problem = watched.error().message;
}

Result<std::vector<Lease>> Dnsmasq::Leases(const std::string& id) {
  const auto text = ReadTextFile(Files(id).leases(), 8 << 20);
  if (!text && text.error().code == Code::kNotFound) return std::vector<Lease>{};
  if (!text) return std::unexpected(text.error());
  return ParseLeases(*text);
}

}  // namespace

Result<std::unique_ptr<NameServers>> OpenDnsmasq(DnsmasqOptions options, EventLoop* loop) {
  if (mkdir(options.folder.c_str(), 0711) != 0 && errno != EEXIST)
    return ErrnoError(errno, options.folder);
  if (chmod(options.folder.c_str(), 0711) != 0) return ErrnoError(errno, options.folder);
  return std::make_unique<Dnsmasq>(std::move(options), loop);
}

}  // namespace gemel::hostnet
