#include "grpc/vm_launch.h"

#include <sys/socket.h>

#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

// The sockets between guest and host are in the machine's folder, whose path may be too long for
// one's address.
Status ListenForHost(const MachineConfig& config, const VmFolder& folder,
                     launch::GivenFiles& given) {
  if (config.vsock) {
    ASSIGN_OR_RETURN(given.vsock, folder.Listen(config.vsock->path.c_str(), SOCK_STREAM));
  }
  for (const ChannelConfig& channel : config.channels) {
    ASSIGN_OR_RETURN(UniqueFd socket, folder.Listen(channel.path.c_str(), SOCK_STREAM));
    given.channels.push_back(std::move(socket));
  }
  return {};
}

Result<LaunchedVm> Launch(VmStart start, const VmFolder& folder, const std::string& cgroup,
                          const launch::VmmPrograms& programs) {
  LaunchedVm launched;
  start.config.serial = {SerialConfig::Kind::kHub, ""};
  launch::GivenFiles given{std::move(start.files.kernel),
                           std::move(start.files.initrd),
                           std::move(start.files.disks),
                           std::move(start.files.nets),
                           {},
                           {}};
  RETURN_IF_ERROR(ListenForHost(start.config, folder, given));
  ASSIGN_OR_RETURN(launched.files, launch::OpenRunFiles(start.config, std::move(given)));
  launched.request = std::exchange(launched.files.request, {});
  launched.request.log_level = start.log_level;
  launched.request.fence = std::move(start.fence);
  ASSIGN_OR_RETURN(launched.request.serial_in, folder.Listen(kConsoleSocket, SOCK_STREAM));
  ASSIGN_OR_RETURN(launched.request.serial_out, folder.CreateFile(kConsoleFile));
  launch::LastingVmm vmm;
  vmm.name = folder.path();
  vmm.cgroup = cgroup;
  vmm.sandbox = start.sandbox;
  ASSIGN_OR_RETURN(vmm.control_listener, folder.Listen(kControlSocket, SOCK_SEQPACKET));
  ASSIGN_OR_RETURN(vmm.exit_record, folder.CreateFile(kExitFile));
  ASSIGN_OR_RETURN(vmm.log, folder.CreateFile(kLogFile));
  ASSIGN_OR_RETURN(launch::ChildProcess process, launch::SpawnLastingVmm(programs, std::move(vmm)));
  launched.jail.pid = process.pid();
  launched.jail.pidfd = process.LetGo();
  return launched;
}

}  // namespace

Result<LaunchedVm> LaunchVm(VmStart start, const VmFolder& folder, const std::string& cgroup,
                            const launch::VmmPrograms& programs) {
  RETURN_IF_ERROR(folder.Create());
  auto launched = Launch(std::move(start), folder, cgroup, programs);
  if (!launched) {
    if (const Status removed = folder.Remove(); !removed)
      LOG_UNLIMITED(kWarning, "supervisor", "{}", removed.error().message);
  }
  return launched;
}

}  // namespace gemel::daemon
