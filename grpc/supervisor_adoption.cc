// How a supervisor finds again what an earlier daemon has left: nothing but processes and folders is
// asked, since those cannot be out of date.
#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "grpc/process_supervisor.h"

namespace gemel::daemon {
namespace {

constexpr int kInfoTimeoutMs = 5000;
constexpr std::int64_t kOrphanGraceMs = 3000;
constexpr std::int64_t kBeginningMs = 10'000;
constexpr int kStepMs = 5;

std::vector<std::string> FoldersIn(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(path.c_str()), closedir);
  if (!entries) return names;
  while (const dirent* const entry = readdir(entries.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

// SIGTERM lets a jail clean up; SIGKILL of both its processes ends what does not listen.
void EndJail(const JailProcess& jail, const std::string& name) {
  const auto outer = jail.outer > 0 ? OpenPidfd(jail.outer) : Result<UniqueFd>(UniqueFd());
  const auto keeper = jail.keeper > 0 ? OpenPidfd(jail.keeper) : Result<UniqueFd>(UniqueFd());
  // The numbers may have become others' since they were read.
  const bool have_outer = outer && *outer && JailName(jail.outer) == name;
  const bool have_keeper = keeper && *keeper && JailName(jail.keeper) == name;
  if (have_outer) {
    SendSignal(*outer, SIGTERM);
    SendSignal(*outer, SIGCONT);
  } else if (have_keeper) {
    SendSignal(*keeper, SIGKILL);
  }
  const auto gone = [&] {
    return (!have_outer || HasEnded(*outer)) && (!have_keeper || HasEnded(*keeper));
  };
  const std::int64_t deadline = MonotonicMs() + kOrphanGraceMs;
  while (!gone() && MonotonicMs() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(kStepMs));
  if (gone()) return;
  if (have_outer) SendSignal(*outer, SIGKILL);
  if (have_keeper) SendSignal(*keeper, SIGKILL);
}

}  // namespace

struct ProcessSupervisor::AdoptionInProgress {
  Adoption found;
  std::size_t left = 0;
  AdoptionCallback done;
};

void ProcessSupervisor::Adopt(std::vector<VmUid> expected, AdoptionCallback done) {
  InBackground([this, expected = std::move(expected), done = std::move(done)] {
    auto findings = std::make_shared<Findings>(LookAround(expected));
    Later([this, findings, done] { OnFound(std::move(*findings), done); });
  });
}

// A jail that an earlier daemon was just starting has no name yet: before exec it looks like that
// daemon, and in exec it has no words at all. But it has the socket that its VM will listen on.
bool ProcessSupervisor::SomebodyBegins(const std::map<std::string, JailProcess>& jails) const {
  const std::vector<std::string> uids = FoldersIn(vms_dir_);
  return std::any_of(uids.begin(), uids.end(), [&](const std::string& uid) {
    return !jails.contains(vms_dir_ + "/" + uid) &&
           FolderOf(uid).Connect(kControlSocket, SOCK_SEQPACKET).has_value();
  });
}

std::map<std::string, JailProcess> ProcessSupervisor::FindAllJails() const {
  const std::int64_t deadline = MonotonicMs() + kBeginningMs;
  while (true) {
    std::map<std::string, JailProcess> jails = FindJails(vms_dir_ + "/");
    if (!SomebodyBegins(jails) || MonotonicMs() >= deadline) return jails;
    std::this_thread::sleep_for(std::chrono::milliseconds(kStepMs));
  }
}

ProcessSupervisor::Findings ProcessSupervisor::LookAround(
    const std::vector<VmUid>& expected) const {
  const std::string prefix = vms_dir_ + "/";
  std::map<std::string, JailProcess> jails = FindAllJails();
  Findings findings;
  for (const VmUid& uid : expected) {
    FoundVm found{uid, FolderOf(uid).Exists(), std::nullopt};
    const auto jail = jails.extract(prefix + uid);
    if (!jail.empty() && jail.mapped().outer > 0) {
      const pid_t pid = jail.mapped().outer;
      auto pidfd = OpenPidfd(pid);
      if (pidfd && JailName(pid) == jail.key())
        found.jail = VmProcess::Jail{pid, std::move(*pidfd)};
    } else if (!jail.empty()) {
      EndJail(jail.mapped(), jail.key());  // its outer process was killed, and it is dying
    }
    findings.vms.push_back(std::move(found));
  }
  const std::set<std::string> known(expected.begin(), expected.end());
  for (const std::string& uid : FoldersIn(vms_dir_)) {
    if (known.contains(uid)) continue;
    const auto jail = jails.extract(prefix + uid);
    findings.orphans.push_back(RemoveOrphan(uid, jail.empty() ? nullptr : &jail.mapped()));
  }
  for (const auto& [name, jail] : jails)
    findings.orphans.push_back(RemoveOrphan(name.substr(prefix.size()), &jail));
  return findings;
}

std::string ProcessSupervisor::RemoveOrphan(const std::string& uid, const JailProcess* jail) const {
  if (jail != nullptr) EndJail(*jail, vms_dir_ + "/" + uid);
  // What a killed jail leaves dies on its own; the group says when.
  cgroups_.KillAll(uid);
  const std::int64_t deadline = MonotonicMs() + kOrphanGraceMs;
  while (!cgroups_.Remove(uid) && MonotonicMs() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(kStepMs));
  const Status removed = FolderOf(uid).Remove();
  return fmt::format("{}: {}{}{}", uid, jail != nullptr ? "its process was killed, " : "",
                     removed ? "its folder removed" : "its folder stays: ",
                     removed ? "" : removed.error().message);
}

void ProcessSupervisor::OnFound(Findings findings, AdoptionCallback done) {
  auto progress = std::make_shared<AdoptionInProgress>();
  progress->found.orphans = std::move(findings.orphans);
  progress->found.vms.resize(findings.vms.size());
  progress->left = findings.vms.size();
  progress->done = std::move(done);
  if (progress->left == 0) return progress->done(std::move(progress->found));
  for (std::size_t i = 0; i < findings.vms.size(); ++i)
    AdoptOne(std::move(findings.vms[i]), [progress, i](AdoptedVm adopted) {
      progress->found.vms[i] = std::move(adopted);
      if (--progress->left == 0) progress->done(std::move(progress->found));
    });
}

void ProcessSupervisor::AdoptOne(FoundVm found, std::function<void(AdoptedVm)> done) {
  const VmUid uid = found.uid;
  AdoptedVm adopted;
  adopted.uid = uid;
  if (!found.jail && !found.folder) return done(std::move(adopted));
  Vm& vm = vms_[uid];
  if (!found.jail) {
    VmExit lost;
    lost.reason = "nothing of it is left, and nobody has seen how it ended";
    vm.state = State::kEnded;
    vm.exit = FolderOf(uid).ReadExit().value_or(lost);
    cgroups_.Remove(uid);
    adopted.state = AdoptedVm::State::kEnded;
    adopted.exit = vm.exit;
    return done(std::move(adopted));
  }
  vm.state = State::kAdopting;
  vm.adopted = std::move(done);
  vm.process = std::make_unique<VmProcess>(loop_, FolderOf(uid), std::move(*found.jail));
  // One whom nobody can talk to is of no use; most often it is just ending.
  if (const Status begun = vm.process->Begin(OwnerFor(uid)); !begun) return vm.process->Terminate();
  vm.process->Request(GetInfoRequest{}, kInfoTimeoutMs, [this, uid](Result<ControlReply> reply) {
    OnAdoptedInfo(uid, std::move(reply));
  });
}

void ProcessSupervisor::OnAdoptedInfo(const VmUid& uid, Result<ControlReply> reply) {
  Vm& vm = vms_.at(uid);
  if (vm.state != State::kAdopting) return;
  if (!reply && reply.error().code != Code::kDeadlineExceeded) return;  // its end follows
  AdoptedVm adopted;
  adopted.uid = uid;
  adopted.state = AdoptedVm::State::kLive;
  if (reply) adopted.info = std::move(reply->info).value_or(VmInfo{});
  if (reply &&
      (adopted.info.state == VmState::kCreated || adopted.info.state == VmState::kConfigured)) {
    vm.never_ran = true;
    return vm.process->Terminate();
  }
  if (!reply) adopted.info.state = VmState::kRunning;  // as far as anybody knows
  if (!reply) adopted.info.notes.emplace_back("its process does not answer");
  FinishAdoption(uid, std::move(adopted));
}

void ProcessSupervisor::FinishAdoption(const VmUid& uid, AdoptedVm adopted) {
  Vm& vm = vms_.at(uid);
  const auto done = std::exchange(vm.adopted, nullptr);
  if (vm.never_ran) {
    adopted = {};
    adopted.uid = uid;
    vms_.erase(uid);
    CleanUp(uid);
  } else if (adopted.state == AdoptedVm::State::kLive) {
    vm.state = State::kLive;
    vm.vmm = std::max(VmmOf(vm.process->jail_pid()), 0);
  }
  done(std::move(adopted));
}

}  // namespace gemel::daemon
