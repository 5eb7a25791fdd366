// gemel-vmm: the process of one virtual machine. Started by `gemel run` or the daemon, never by
// hand.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <span>
#include <utility>

#include "base/check.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "vmm/process/vm_server.h"
#include "vmm/process/vmm_options.h"
#include "vmm/sandbox/sandbox.h"

namespace gemel {
namespace {

constexpr int kWrongUse = 2;

// Signals a terminal sends to a whole foreground group, and a closed pipe's, must not end the
// guest; whoever started this process decides and says so over the control socket.
void IgnoreTerminalSignals() {
  for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU})
    signal(number, SIG_IGN);
}

// With glibc's 8 MiB a host that gives huge pages unasked backs the top of each stack with 2 MiB.
void KeepThreadStacksSmall() {
  constexpr std::size_t kStackBytes = 512 << 10;
  pthread_attr_t attributes;
  CHECK(pthread_attr_init(&attributes) == 0);
  CHECK(pthread_attr_setstacksize(&attributes, kStackBytes) == 0);
  CHECK(pthread_setattr_default_np(&attributes) == 0);
  pthread_attr_destroy(&attributes);
}

// A thread that opens a file ends the VM, and malloc does: /proc/sys/vm/overcommit_memory before it
// gives the end of a thread's arena back, /sys/devices/system/cpu/online when the ninth thread
// wants an arena. No data path allocates, so a few arenas do.
void KeepArenasWholeAndFew() {
  CHECK(mallopt(M_TRIM_THRESHOLD, -1) == 1);
  CHECK(mallopt(M_ARENA_MAX, 4) == 1);
}

// While this is the only thread.
VmServer::Sandbox EnterSandbox(const VmmOptions& options) {
  VmServer::Sandbox sandbox;
  sandbox.mode = options.sandbox;
  if (options.sandbox == SandboxMode::kOff) return sandbox;
  sandbox.layers = options.jail;
  for (SandboxLayer& layer : sandbox::ConfineProcess(options.report_fd))
    sandbox.layers.push_back(std::move(layer));
  return sandbox;
}

// Returns only if it could not begin.
Status Serve(std::span<const char* const> words) {
  ASSIGN_OR_RETURN(const VmmOptions options, ParseVmmOptions(words));
  ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  ASSIGN_OR_RETURN(std::unique_ptr<ControllerSeat> seat,
                   options.listen_fd >= 0
                       ? ControllerSeat::ForMany(UniqueFd(options.listen_fd), loop.get())
                       : ControllerSeat::ForOne(UniqueFd(options.control_fd), loop.get()));
  VmServer::Sandbox sandbox = EnterSandbox(options);
  ASSIGN_OR_RETURN(
      const std::unique_ptr<VmServer> server,
      VmServer::Create(std::move(seat), loop.get(), std::move(sandbox), options.report_fd));
  loop->Run();
  // Without destructors: they would wait for storage that hangs, and the kernel cleans up as well.
  _exit(server->exit_status());
}

}  // namespace
}  // namespace gemel

int main(int argc, char** argv) {
  gemel::IgnoreTerminalSignals();
  gemel::KeepThreadStacksSmall();
  gemel::KeepArenasWholeAndFew();
  // Started from a descriptor, it would be called by that one's number.
  prctl(PR_SET_NAME, "gemel-vmm", 0, 0, 0);
  const auto status =
      gemel::Serve(std::span(argv, static_cast<std::size_t>(argc)).subspan(argc > 0 ? 1 : 0));
  LOG_UNLIMITED(kError, "gemel-vmm", "{}", status.error().message);
  return gemel::kWrongUse;
}
