#include "cli/command_run.h"

#include <cstdio>
#include <memory>
#include <utility>
#include <variant>

#include "base/event_loop.h"
#include "cli/exit_status.h"
#include "cli/report.h"
#include "cli/run_identity.h"
#include "cli/run_options.h"
#include "cli/run_session.h"
#include "launch/run_files.h"
#include "launch/vmm_process.h"
#include "vmm/control/control_channel.h"

namespace gemel::cli {
namespace {

Result<std::unique_ptr<RunSession>> BuildSession(RunOptions options, launch::RunFiles files) {
  ASSIGN_OR_RETURN(const launch::VmmPrograms programs, launch::FindVmm());
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  ASSIGN_OR_RETURN(auto ends, ControlChannel::CreatePair());
  ASSIGN_OR_RETURN(
      launch::VmmProcess vmm,
      launch::VmmProcess::Spawn(programs, options.sandbox, std::move(ends.second).Release()));
  return std::make_unique<RunSession>(std::move(options), std::move(files), std::move(vmm),
                                      std::move(ends.first), std::move(loop));
}

int RunMachine(RunOptions options) {
  BlockRunSignals();  // first, so that no signal finds a file of ours half made
  if (const Status settled = SettleUuid(options.config); !settled) {
    PrintError(settled.error());
    return kFailed;
  }
  auto files = launch::OpenRunFiles(options.config);
  if (!files) {
    PrintError(files.error());
    return kWrongInput;
  }
  const auto session = BuildSession(std::move(options), std::move(*files));
  if (!session) {
    PrintError(session.error());
    return kFailed;
  }
  return (*session)->Run();
}

}  // namespace

int RunCommand(std::span<const std::string> arguments) {
  auto parsed = ParseRunOptions(arguments);
  if (!parsed) {
    PrintError(parsed.error());
    return kWrongInput;
  }
  if (const auto* help = std::get_if<HelpText>(&*parsed)) {
    std::fputs(help->text.c_str(), stdout);
    return kDone;
  }
  return RunMachine(std::get<RunOptions>(std::move(*parsed)));
}

}  // namespace gemel::cli
