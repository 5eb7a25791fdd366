// gemeld put together: the only place that knows all of its parts.
#pragma once
#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/result.h"
#include "grpc/daemon_config.h"
#include "grpc/vm_supervisor.h"

namespace gemel::daemon {

using SupervisorFactory = std::function<Result<std::unique_ptr<VmSupervisor>>(
    EventLoop* loop, const DaemonConfig& config, VmEventCallback on_event)>;

// Runs until SIGTERM or SIGINT; VMs run on. The exit status: 0; 1 if it could not begin, which a line on
// stderr explains. Call it while there is one thread.
int RunDaemon(const DaemonConfig& config, const SupervisorFactory& make_supervisor);

}  // namespace gemel::daemon
