// What gemeld does for failover, and nothing else of it: one machine, commands on stdin, a line on stdout
// whenever something has changed. Its end, however it comes, is a daemon's: the VM runs on.
//
//   cluster_node RUN_DIR NODE KEEPER_SOCKET RESERVATIONS ENDPOINT,... UID KERNEL WORD...
//
//   want run|leave|away NODE
//
// RESERVATIONS is a file that plays the disk's part in a take-over: keys and a holder. It refuses no
// write: the VM's disk (the word disk=PATH) is an ordinary file. While there is a file RESERVATIONS.lossy,
// each PREEMPT is lost. With disk=iscsi://… (as gemel run has it) it is not used: the disk is claimed at its
// target.
//
// GEMEL_MUTATION takes a rule away, to see that something notices (mutant_rules.cc; here: no_latch,
// register_on_reconnect).
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_util.h"
#include "base/timer.h"
#include "cluster/page/page_memory.h"
#include "etcd/grpc_kv.h"
#include "etcd/kv_store.h"
#include "grpc/cluster_disks.h"
#include "grpc/cluster_manager.h"
#include "grpc/fenced_machines.h"
#include "grpc/keeper_link.h"
#include "grpc/process_supervisor.h"
#include "keeper/program_rules.h"
#include "tests/explorer/storage_model.h"
#include "vmm/config/parse.h"

namespace gemel::daemon {
namespace {

constexpr ClusterVm kVm = 1;
constexpr std::int64_t kLookMs = 50;
constexpr const char* kInitiator = "iqn.2026-11.test:gemel";

template <class... Args>
void Say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...) + "\n";
  CHECK(write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

bool IsWithout(std::string_view rule) {
  const char* const mutation = std::getenv("GEMEL_MUTATION");
  return mutation != nullptr && mutation == rule;
}

// The model of a disk, as the bytes of a file that all nodes open.
class FileReservations : public ClusterDisks {
 public:
  FileReservations(EventLoop* loop, const std::string& path)
      : loop_(loop), lossy_(path + ".lossy"), fd_(OpenFile(path, O_RDWR | O_CREAT).value()) {
    if (IsWithout("register_on_reconnect")) Reconnect();
  }

  void Execute(ClusterVm /*vm*/, const cluster::StorageCommand& command, Done done) override {
    const bool lost = command.op == cluster::StorageCommand::Op::kPreemptAndAbort &&
                      access(lossy_.c_str(), F_OK) == 0;
    const cluster::StorageAnswer answer = lost ? cluster::StorageAnswer{} : Change(command);
    if (command.op == cluster::StorageCommand::Op::kRegister) last_ = command;
    loop_->Post([done = std::move(done), answer] { done(answer); });
  }

 private:
  cluster::StorageAnswer Change(const cluster::StorageCommand& command) {
    explorer::Storage disk;
    CHECK(flock(fd_.get(), LOCK_EX) == 0);
    if (pread(fd_.get(), &disk, sizeof disk, 0) != sizeof disk) disk = {};
    const cluster::StorageAnswer answer = disk.Execute(command);
    CHECK(pwrite(fd_.get(), &disk, sizeof disk, 0) == sizeof disk);
    CHECK(flock(fd_.get(), LOCK_UN) == 0);
    return answer;
  }

  // An initiator whose connections break all the time, and that registers whenever it has a new one.
  void Reconnect() {
    if (last_.mine.node != 0) Change(last_);
    CHECK(timer_.Start(loop_, kLookMs, [this] { Reconnect(); }));
  }

  EventLoop* loop_;
  const std::string lossy_;
  UniqueFd fd_;
  cluster::StorageCommand last_;  // REGISTER
  Timer timer_;
};

// Hands each machine a page that never ends, if that is the mutation: a VM process without a latch.
class MaybeWithoutLatch : public ClusterMachines {
 public:
  explicit MaybeWithoutLatch(ClusterMachines* machines) : machines_(machines) {}
  void Start(ClusterVm vm, Grant grant) override { machines_->Start(vm, Change(std::move(grant))); }
  void Resume(ClusterVm vm, Grant grant) override {
    machines_->Resume(vm, Change(std::move(grant)));
  }
  void Stop(ClusterVm vm) override { machines_->Stop(vm); }
  void Kill(ClusterVm vm) override { machines_->Kill(vm); }

 private:
  Grant Change(Grant grant) {
    if (!without_) return grant;
    constexpr cluster::Time kLong{3'600'000'000};
    pages_.push_back(
        cluster::PageWriter::Create({grant.session, cluster::BootTime() + kLong, false}).value());
    grant.page = pages_.back().OpenForReader().value();
    return grant;
  }

  ClusterMachines* const machines_;
  const bool without_ = IsWithout("no_latch");
  std::deque<cluster::PageWriter> pages_;
};

struct Words {
  std::string run_dir, keeper, reservations, uid;
  cluster::NodeId node = 0;
  std::vector<std::string> endpoints, machine;
};

class NodeUnderTest {
 public:
  NodeUnderTest(EventLoop* loop, Words words)
      : loop_(loop),
        words_(std::move(words)),
        disks_(MakeDisks()),
        kv_(etcd::CreateGrpcKv(loop, {words_.endpoints, {}, {}, {}}).value()),
        store_(loop, kv_.get(), &clock_, {}),
        supervisor_(ProcessSupervisor::Create({words_.run_dir, "", launch::FindVmm().value()}, loop,
                                              [this](const VmUid& uid, const VmEvent& event) {
                                                machines_.OnVmEvent(uid, event);
                                              })
                        .value()),
        machines_({loop,
                   supervisor_.get(),
                   [this](ClusterVm, const FencedMachines::Prepared& done) { done(Prepare()); },
                   [this](ClusterVm vm, const cluster::Process& process) {
                     manager_.OnProcess(vm, process);
                     Show();
                   },
                   [](ClusterVm, const Error& error) { Say("failed {}", error.message); },
                   {words_.node, kInitiator}}),
        keeper_(loop, words_.keeper, [this] { Look(); }),
        maybe_latched_(&machines_),
        manager_(words_.node, {&store_, &keeper_, &maybe_latched_, disks_.get(), cluster::BootTime,
                               keeper::ProgramRules()}) {
    machines_.Add(kVm, words_.uid);
    supervisor_->Adopt({words_.uid}, [this](const Result<Adoption>& found) {
      CHECK(found && found->vms.size() == 1);
      manager_.Add(kVm, machines_.Adopted(found->vms[0]));
      adopted_ = true;
      Say("ready");
      LookAgain();
    });
    CHECK(loop->Watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { OnInput(); }));
  }

 private:
  Result<VmStart> Prepare() const {
    VmStart start;
    start.uid = words_.uid;
    start.config.memory.size = 16 << 20;
    start.config.boot.kernel = words_.machine[0];
    std::string& line = start.config.boot.cmdline;
    for (const std::string& word : std::span(words_.machine).subspan(1)) {
      if (word.starts_with("disk=")) {
        const bool file = !word.starts_with("disk=iscsi:");
        ASSIGN_OR_RETURN(start.config.disks.emplace_back(),
                         ParseDisk((file ? "path=" : "") + word.substr(5)));
      } else {
        line += (line.empty() ? "" : " ") + word;
      }
    }
    return start;
  }

  std::unique_ptr<ClusterDisks> MakeDisks() {
    const bool target = std::ranges::any_of(
        words_.machine, [](const std::string& word) { return word.starts_with("disk=iscsi:"); });
    if (!target) return std::make_unique<FileReservations>(loop_, words_.reservations);
    return std::make_unique<IscsiClusterDisks>(IscsiClusterDisks::Outside{
        loop_, kInitiator, [this](ClusterVm) -> Result<std::vector<DiskConfig>> {
          ASSIGN_OR_RETURN(VmStart start, Prepare());
          return std::move(start.config.disks);
        }});
  }

  void Look() {
    if (!adopted_) return;
    manager_.Run();
    Show();
  }
  void LookAgain() {
    Look();
    CHECK(timer_.Start(loop_, kLookMs, [this] { LookAgain(); }));
  }

  void Show() {
    const ClusterManager::MachineStatus now = manager_.machines()[0];
    const cluster::Process& process = now.process;
    static constexpr const char* kProcess[] = {"none", "running", "latched", "conflicted"};
    static constexpr const char* kRecord[] = {"free", "fencing", "starting", "running", "moving"};
    std::string line = fmt::format(
        "live={} process={} session={} epoch={} record={} owner={} at_epoch={}",
        manager_.live() ? 1 : 0, kProcess[static_cast<int>(process.state)], process.session.number,
        process.epoch.counter, kRecord[static_cast<int>(now.record.state)], now.record.owner,
        now.record.epoch.counter);
    if (line == shown_) return;
    shown_ = std::move(line);
    Say("{} at_us={}", shown_, cluster::BootTime().us);
  }

  void OnInput() {
    char buffer[4096];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n <= 0) return loop_->Stop();
    input_.append(buffer, static_cast<std::size_t>(n));
    for (std::size_t end; (end = input_.find('\n')) != input_.npos;) {
      std::istringstream words(input_.substr(0, end));
      input_.erase(0, end + 1);
      std::string verb, what;
      cluster::NodeId node = 0;
      words >> verb >> what >> node;
      CHECK(verb == "want" && adopted_);
      cluster::Want want = cluster::Want::kLeave;
      if (what == "run") want = cluster::Want::kRun;
      if (what == "away") want = cluster::Want::kGiveAway;
      manager_.Want(kVm, want, node);
    }
  }

  EventLoop* const loop_;
  const Words words_;
  const SystemClock clock_;
  const std::unique_ptr<ClusterDisks> disks_;
  std::unique_ptr<etcd::Kv> kv_;
  etcd::KvStore store_;
  std::unique_ptr<ProcessSupervisor> supervisor_;
  FencedMachines machines_;
  KeeperSocket keeper_;
  MaybeWithoutLatch maybe_latched_;
  ClusterManager manager_;
  Timer timer_;
  bool adopted_ = false;
  std::string shown_;
  std::string input_;
};

int Main(int argc, char** argv) {
  if (argc < 8) return 2;
  Words words{argv[1], argv[3], argv[4], argv[6], 0, {}, {argv + 7, argv + argc}};
  words.node = static_cast<cluster::NodeId>(std::atoi(argv[2]));
  std::istringstream endpoints(argv[5]);
  for (std::string one; std::getline(endpoints, one, ',');) words.endpoints.push_back(one);
  auto loop = EventLoop::Create();
  if (!loop) return 1;
  NodeUnderTest node(loop->get(), std::move(words));
  (*loop)->Run();
  return 0;
}

}  // namespace
}  // namespace gemel::daemon

int main(int argc, char** argv) { return gemel::daemon::Main(argc, argv); }
