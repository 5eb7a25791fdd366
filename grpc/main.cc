// gemeld: the daemon of a node.
#include <cstdio>
#include <string>
#include <vector>

#include "grpc/daemon.h"
#include "grpc/process_supervisor.h"
#include "launch/vmm_process.h"

namespace {

using gemel::Result;
using gemel::daemon::VmSupervisor;

Result<std::unique_ptr<VmSupervisor>> MakeSupervisor(gemel::EventLoop* loop,
                                                     const gemel::daemon::DaemonConfig& config,
                                                     gemel::daemon::VmEventCallback on_event) {
  gemel::daemon::SupervisorOptions options;
  options.run_dir = config.run_dir;
  options.cgroup_parent = config.cgroup_parent;
  ASSIGN_OR_RETURN(options.programs, gemel::launch::FindVmm());
  ASSIGN_OR_RETURN(
      std::unique_ptr<VmSupervisor> made,
      gemel::daemon::ProcessSupervisor::Create(std::move(options), loop, std::move(on_event)));
  return made;
}

}  // namespace

int main(int argc, char** argv) {
  const auto config =
      gemel::daemon::ReadDaemonConfig(std::vector<std::string>(argv + 1, argv + argc));
  if (!config) {
    const bool asked = config.error().code == gemel::Code::kCancelled;
    static_cast<void>(std::fputs(
        (asked ? config.error().message : "gemeld: error: " + config.error().message + "\n")
            .c_str(),
        asked ? stdout : stderr));
    return asked ? 0 : 2;
  }
  return gemel::daemon::RunDaemon(*config, MakeSupervisor);
}
