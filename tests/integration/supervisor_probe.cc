// A daemon that is nothing but a ProcessSupervisor: commands on stdin, what happens on stdout, a line
// each. Its end, however it comes, is a daemon's: no VM goes with it.
//
//   start UID KERNEL WORD...     a guest with 16 MiB
//   adopt UID...
//   power-button|power-off|reset|pause|resume|kill|release|info|statistics|limits UID
//   set-limits UID CPU_WEIGHT CPU_CAP_MILLI MEMORY
//   last-console UID
//   session NUMBER MS            a new session and its deadline page, which ends in MS
//   extend MS|poison             that page
//   resume-under UID EPOCH       under that session
// A guest with the word epoch=N is started with a fence: that session's, and epoch N.
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_util.h"
#include "cluster/page/page_memory.h"
#include "grpc/process_supervisor.h"

namespace gemel::daemon {
namespace {

template <class... Args>
void Say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...) + "\n";
  CHECK(write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

std::string Describe(const VmExit& exit) {
  return fmt::format("{} status={} signal={} at={} {}", VmExitCauseWord(exit.cause), exit.status,
                     exit.signal, exit.ended_at, exit.reason);
}

const char* StateWord(const VmInfo& info) {
  constexpr const char* kWords[] = {"created", "configured", "running", "paused", "stopped"};
  return kWords[static_cast<std::size_t>(info.state)];
}

std::string Describe(const FenceState& fence) {
  return fmt::format("session={} epoch={} latched={} in_flight={}", fence.session.number,
                     fence.epoch.counter, fence.latched, fence.in_flight);
}

class Probe {
 public:
  Probe(EventLoop* loop, SupervisorOptions options) : loop_(loop) {
    auto made = ProcessSupervisor::Create(
        std::move(options), loop,
        [](const VmUid& uid, const VmEvent& event) { OnEvent(uid, event); });
    if (!made) {
      Say("error {}", made.error().message);
      std::exit(1);
    }
    supervisor_ = std::move(*made);
    CHECK(loop->Watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { OnInput(); }));
  }

 private:
  static void OnEvent(const VmUid& uid, const VmEvent& event) {
    if (const auto* ended = std::get_if<VmEnded>(&event))
      Say("ended {} {}", uid, Describe(ended->exit));
    if (std::holds_alternative<VmWasReset>(event)) Say("was-reset {}", uid);
    if (const auto* latched = std::get_if<VmLatched>(&event))
      Say("latched {} {} at_us={}", uid, Describe(latched->fence), cluster::BootTime().us);
    if (const auto* lost = std::get_if<VmUnreachable>(&event))
      Say("unreachable {} {}", uid, lost->reason);
  }

  void OnInput() {
    char buffer[4096];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n <= 0) return loop_->Stop();
    input_.append(buffer, static_cast<std::size_t>(n));
    for (std::size_t end; (end = input_.find('\n')) != input_.npos;) {
      std::istringstream words(input_.substr(0, end));
      input_.erase(0, end + 1);
      Carry(words);
    }
  }

  void Carry(std::istringstream& words) {
    std::string verb;
    VmUid uid;
    words >> verb;
    if (verb == "adopt") return Adopt(words);
    if (Page(verb, words)) return;
    words >> uid;
    if (verb == "start") return Start(uid, words);
    if (verb == "set-limits") return SetLimits(uid, words);
    if (verb == "resume-under") return ResumeUnder(uid, words);
    if (Simple(verb, uid)) return;
    if (verb == "kill") return Tell(verb, uid)(supervisor_->Kill(uid));
    if (verb == "release") return Tell(verb, uid)(supervisor_->Release(uid));
    if (verb == "limits") return Limits(uid);
    if (verb == "info")
      return supervisor_->GetInfo(uid, [uid](const Result<VmInfo>& info) {
        if (!info) return Say("info {} error {}", uid, info.error().message);
        Say("info {} {} resets={} cpus={}{}", uid, StateWord(*info), info->resets, info->cpus,
            info->fence ? " " + Describe(*info->fence) : "");
      });
    if (verb == "statistics") return Statistics(uid);
    if (verb == "last-console") return LastConsole(uid);
    Say("error {}: unknown", verb);
  }

  bool Simple(const std::string& verb, const VmUid& uid) {
    if (verb == "power-button")
      supervisor_->PowerButton(uid, Tell(verb, uid));
    else if (verb == "power-off")
      supervisor_->PowerOff(uid, Tell(verb, uid));
    else if (verb == "reset")
      supervisor_->Reset(uid, Tell(verb, uid));
    else if (verb == "pause")
      supervisor_->Pause(uid, Tell(verb, uid));
    else if (verb == "resume")
      supervisor_->Resume(uid, Tell(verb, uid));
    else
      return false;
    return true;
  }

  // What gemel-keeper does, in miniature.
  bool Page(const std::string& verb, std::istringstream& words) {
    std::int64_t number = 0;
    if (verb != "session" && verb != "extend" && verb != "poison") return false;
    words >> number;
    if (verb == "session") {
      session_ = {1, static_cast<std::uint64_t>(number)};
      words >> number;
    }
    cluster::DeadlinePage page;
    page.session = session_;
    page.deadline = cluster::BootTime() + cluster::Time{number * 1000};
    page.poisoned = verb == "poison";
    if (verb == "session") {
      pages_.push_back(cluster::PageWriter::Create(page).value());
    } else {
      pages_.back().Publish(page);
    }
    Say("{} ok until_us={}", verb, page.deadline.us);
    return true;
  }

  cluster::FenceGrant Grant(std::uint64_t epoch) {
    return {pages_.back().OpenForReader().value(), session_, {1, epoch}};
  }

  void ResumeUnder(const VmUid& uid, std::istringstream& words) {
    std::uint64_t epoch = 0;
    words >> epoch;
    supervisor_->ResumeUnder(uid, Grant(epoch), Tell("resume-under", uid));
  }

  static DoneCallback Tell(const std::string& verb, const VmUid& uid) {
    return [verb, uid](const Status& status) {
      if (status) return Say("{} {} ok", verb, uid);
      Say("{} {} error {} {}", verb, uid, static_cast<int>(status.error().code),
          status.error().message);
    };
  }

  // Whether it is one of ours, and not the guest's.
  bool Understood(const std::string& word, VmStart& start) {
    MachineConfig& config = start.config;
    if (word.starts_with("disk=")) {
      config.disks.push_back({});
      config.disks.back().path = word.substr(5);
    } else if (word.starts_with("cpus=")) {
      config.cpus = static_cast<std::uint32_t>(std::stoul(word.substr(5)));
    } else if (word == "engine=sync") {
      config.disks.back().engine = IoEngine::kSync;
    } else if (word.starts_with("epoch=")) {
      start.fence = Grant(std::stoull(word.substr(6)));
    } else if (word == "on-reboot=exit") {
      config.on_reboot = OnReboot::kExit;
    } else {
      return false;
    }
    return true;
  }

  void Start(const VmUid& uid, std::istringstream& words) {
    VmStart start;
    start.uid = uid;
    start.config.memory.size = 16 << 20;
    words >> start.config.boot.kernel;
    std::string& cmdline = start.config.boot.cmdline;
    for (std::string word; words >> word;)
      if (!Understood(word, start)) cmdline += (cmdline.empty() ? "" : " ") + word;
    supervisor_->Start(std::move(start), Tell("start", uid));
  }

  void Adopt(std::istringstream& words) {
    std::vector<VmUid> expected;
    for (std::string uid; words >> uid;) expected.push_back(uid);
    supervisor_->Adopt(std::move(expected), [](const Result<Adoption>& found) {
      if (!found) return Say("adopt error {}", found.error().message);
      for (const AdoptedVm& vm : found->vms) {
        if (vm.state == AdoptedVm::State::kNothing) Say("adopted {} nothing", vm.uid);
        if (vm.state == AdoptedVm::State::kLive) Say("adopted {} {}", vm.uid, StateWord(vm.info));
        if (vm.state == AdoptedVm::State::kEnded)
          Say("adopted {} ended {}", vm.uid, Describe(vm.exit));
      }
      for (const std::string& orphan : found->orphans) Say("orphan {}", orphan);
      Say("adopt ok");
    });
  }

  void SetLimits(const VmUid& uid, std::istringstream& words) {
    VmLimits limits;
    words >> limits.cpu_weight >> limits.cpu_cap_milli >> limits.memory;
    limits.cpus = {0};
    Tell("set-limits", uid)(supervisor_->SetLimits(uid, limits));
  }

  void Limits(const VmUid& uid) {
    const auto limits = supervisor_->Limits(uid);
    if (!limits) return Say("limits {} error {}", uid, limits.error().message);
    Say("limits {} weight={} cap={} memory={} cpus={} cgroup={} missing={}", uid,
        limits->cpu_weight, limits->cpu_cap_milli, limits->memory, fmt::join(limits->cpus, ","),
        limits->cgroup, fmt::join(limits->missing, "; "));
  }

  void Statistics(const VmUid& uid) {
    supervisor_->GetStatistics(uid, [uid](const Result<VmStatistics>& s) {
      if (!s) return Say("statistics {} error {}", uid, s.error().message);
      std::string text;
      for (const auto& [reason, count] : s->exits)
        text += fmt::format(" exit:{}={}", reason, count);
      for (const auto& [device, counters] : s->devices)
        for (const auto& [name, value] : counters)
          text += fmt::format(" {}:{}={}", device, name, value);
      Say("statistics {} cpu_ns={} vcpu_ns={} resident={} memory={} resets={}{}", uid, s->cpu_ns,
          fmt::join(s->vcpu_ns, ","), s->resident_bytes, s->memory_bytes, s->resets, text);
    });
  }

  void LastConsole(const VmUid& uid) {
    const auto file = supervisor_->LastConsole(uid);
    if (!file) return Say("last-console {} error {}", uid, file.error().message);
    char text[256] = {};
    const ssize_t n = pread(file->get(), text, sizeof text - 1, 8);
    for (ssize_t i = 0; i < n; ++i)
      if (text[i] == '\n') text[i] = '|';
    Say("last-console {} {}", uid, text);
  }

  EventLoop* const loop_;
  std::unique_ptr<ProcessSupervisor> supervisor_;
  std::vector<cluster::PageWriter> pages_;  // of all sessions; the last is this one's
  cluster::SessionId session_;
  std::string input_;
};

int Main(int argc, char** argv) {
  if (argc < 2) return 2;
  auto loop = EventLoop::Create();
  auto programs = launch::FindVmm();
  if (!loop || !programs) return 1;
  Probe probe(loop->get(), {argv[1], argc > 2 ? argv[2] : "", *programs});
  (*loop)->Run();
  return 0;
}

}  // namespace
}  // namespace gemel::daemon

int main(int argc, char** argv) { return gemel::daemon::Main(argc, argv); }
