// gemeld with machines that are no processes: for what asks much of the API and little of machines.
#include <cstdio>
#include <string>
#include <vector>

#include "grpc/daemon.h"
#include "tests/fakes/fake_vm_supervisor.h"

int main(int argc, char** argv) {
  const auto config =
      gemel::daemon::ReadDaemonConfig(std::vector<std::string>(argv + 1, argv + argc));
  if (!config) {
    static_cast<void>(std::fprintf(stderr, "%s\n", config.error().message.c_str()));
    return 2;
  }
  using gemel::Result;
  using gemel::daemon::VmSupervisor;
  return gemel::daemon::RunDaemon(
      *config,
      [](gemel::EventLoop* loop, const gemel::daemon::DaemonConfig&,
         gemel::daemon::VmEventCallback on_event) -> Result<std::unique_ptr<VmSupervisor>> {
        return std::unique_ptr<VmSupervisor>(
            std::make_unique<gemel::testing::FakeVmSupervisor>(loop, std::move(on_event)));
      });
}
