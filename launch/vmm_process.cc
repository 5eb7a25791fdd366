#include "launch/vmm_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>
#include <vector>

namespace gemel::launch {
namespace {

// In the child; jail/shared.h has the next two.
constexpr int kControlFd = 3;

struct Pipe {
  UniqueFd reading, writing;
};

Result<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "start gemel-vmm: pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string SandboxWord(SandboxMode sandbox) {
  return fmt::format("--sandbox={}", SandboxModeWord(sandbox));
}

void ReadFirstLine(std::string_view line, ExitState& state) {
  constexpr std::string_view kFailed = "failed ", kSignal = "signal ", kExit = "exit ";
  const auto number = [](std::string_view text, int& to) {
    std::from_chars(text.data(), text.data() + text.size(), to);
  };
  if (line.starts_with(kFailed)) {
    state.failed = line.substr(kFailed.size());
  } else if (line.starts_with(kExit)) {
    number(line.substr(kExit.size()), state.status);
  } else if (line.starts_with(kSignal)) {
    line.remove_prefix(kSignal.size());
    const std::size_t space = line.find(' ');
    number(line.substr(0, space), state.signal);
    if (space != line.npos) state.refused = line.substr(space + 1);
  }
}

}  // namespace

Result<VmmPrograms> FindVmm() {
  VmmPrograms programs;
  ASSIGN_OR_RETURN(programs.jail, FindProgram("gemel-jail", "jail", "GEMEL_JAIL"));
  ASSIGN_OR_RETURN(programs.vmm, FindProgram("gemel-vmm", "vmm/process", "GEMEL_VMM"));
  return programs;
}

void ReadExitRecord(std::string_view record, ExitState& state) {
  constexpr std::string_view kEnded = "ended ";
  const std::size_t end = record.find('\n');
  ReadFirstLine(record.substr(0, end), state);
  if (end == record.npos) return;
  std::string_view second = record.substr(end + 1);
  second = second.substr(0, second.find('\n'));
  if (second.starts_with(kEnded)) state.last_words = second.substr(kEnded.size());
}

Result<VmmProcess> VmmProcess::Spawn(const VmmPrograms& programs, SandboxMode sandbox,
                                     UniqueFd control) {
  ChildFds fds;
  fds.fds.push_back(std::move(control));
  std::vector<std::string> words = {"gemel-vmm", fmt::format("--control-fd={}", kControlFd),
                                    SandboxWord(sandbox)};
  if (sandbox == SandboxMode::kOff) {
    ASSIGN_OR_RETURN(ChildProcess process,
                     ChildProcess::Spawn(programs.vmm, std::move(words), std::move(fds)));
    return VmmProcess(std::move(process), {}, {});
  }
  ASSIGN_OR_RETURN(Pipe life, MakePipe());
  ASSIGN_OR_RETURN(Pipe record, MakePipe());
  fds.fds.push_back(std::move(life.reading));
  fds.fds.push_back(std::move(record.writing));
  words[0] = programs.vmm;
  words.insert(words.begin(), "gemel-jail");
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Spawn(programs.jail, std::move(words), std::move(fds)));
  return VmmProcess(std::move(process), std::move(life.writing), std::move(record.reading));
}

// The outer process of a jail waits until all that is inside has gone: then disks are free again.
void VmmProcess::Kill() const {
  process_.Signal(life_ ? SIGTERM : SIGKILL);
  if (life_) process_.Signal(SIGCONT);
}

ExitState VmmProcess::Reap() {
  const int status = process_.Reap();
  ExitState state;
  if (WIFSIGNALED(status)) state.signal = WTERMSIG(status);
  if (WIFEXITED(status)) state.status = WEXITSTATUS(status);
  if (record_) {
    std::array<char, 1024> record;
    const ssize_t size = read(record_.get(), record.data(), record.size());
    if (size > 0)
      ReadExitRecord(std::string_view(record.data(), static_cast<std::size_t>(size)), state);
  }
  return state;
}

VmmProcess::~VmmProcess() {
  if (!alive()) return;
  Kill();
  Reap();
}

Result<ChildProcess> SpawnLastingVmm(const VmmPrograms& programs, LastingVmm vmm) {
  // In the place of a pipe whose end would end it: never readable.
  UniqueFd life(eventfd(0, EFD_CLOEXEC));
  if (!life) return ErrnoError(errno, "start gemel-vmm: eventfd");
  ChildFds fds;
  fds.err = std::move(vmm.log);
  fds.fds.push_back(std::move(vmm.control_listener));
  fds.fds.push_back(std::move(life));
  fds.fds.push_back(std::move(vmm.exit_record));
  std::vector<std::string> words = {"gemel-jail", "--vm=" + vmm.name};
  if (!vmm.cgroup.empty()) words.push_back("--cgroup=" + vmm.cgroup);
  words.push_back(programs.vmm);
  words.push_back(fmt::format("--listen-fd={}", kControlFd));
  words.push_back(SandboxWord(vmm.sandbox));
  return ChildProcess::Spawn(programs.jail, std::move(words), std::move(fds));
}

}  // namespace gemel::launch
