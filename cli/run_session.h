// One VM in the foreground: talks to its gemel-vmm, relays the console, obeys signals and the menu,
// and tells how it ended.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/timer.h"
#include "base/unique_fd.h"
#include "cli/console_relay.h"
#include "cli/run_options.h"
#include "cli/terminal.h"
#include "cli/vsock_dialer.h"
#include "launch/run_files.h"
#include "launch/vmm_process.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/control_messages.h"

namespace gemel::cli {

// Blocks the signals that a RunSession takes. Before any thread starts.
void BlockRunSignals();

class RunSession {
 public:
  RunSession(RunOptions options, launch::RunFiles files, launch::VmmProcess vmm,
             ControlChannel channel, std::unique_ptr<EventLoop> loop);

  // To the VM's end; the exit status (exit_status.h). What went wrong has been printed.
  int Run();

 private:
  enum class Phase : std::uint8_t { kConfiguring, kRunning, kStopping, kEnded };

  Status Begin();
  Status WatchSignals();
  Status WatchUserNets();
  std::uint64_t Request(ControlRequestBody body);

  void OnControl();
  void ReceiveAtMost(int count);
  void OnReply(const ControlReply& reply);
  void OnEvent(const ControlEvent& event);
  void OnConfigured();
  void OnCrashed(const CrashedEvent& event);
  void ShowMissingWalls(const VmInfo& info) const;
  void ShowInfo(const VmInfo& info) const;

  void OnSignals();
  void ToggleLinks();
  void OnStopRequest(int signal);
  void OnSuspend();
  void OnTimeout();
  void OnMenu(const EscapeMenu::Step& step);
  void OnBalloonLine(const EscapeMenu::Step& step);
  void AskForBalloon(const VmInfo& info) const;
  void SetBalloon(std::string_view text);
  void PressPowerButton(std::string_view why);
  void PowerOffNow(std::string_view why);

  void TakeTerminal();
  void OnUserNetExit(launch::UserNetProcess& net);
  void OnVmmExit();
  void Fail(const Error& error, int status);
  void EndIfDone();
  int StatusOf(pid_t pid, const launch::ExitState& exit) const;

  const RunOptions options_;
  launch::RunFiles files_;
  launch::VmmProcess vmm_;
  std::optional<ControlChannel> channel_;
  std::unique_ptr<EventLoop> loop_;
  Terminal terminal_;
  UniqueFd signals_;
  Timer timeout_, kill_timer_, foreground_timer_;
  std::unique_ptr<VsockDialer> dialer_;
  std::optional<ConsoleInput> input_;
  std::optional<ConsoleOutput> output_;

  Phase phase_ = Phase::kConfiguring;
  std::uint64_t last_id_ = 0;
  bool links_up_ = true;
  std::uint64_t configure_id_ = 0, start_id_ = 0, info_id_ = 0, balloon_id_ = 0;
  int stop_requests_ = 0;
  bool output_done_ = true;
  std::optional<int> outcome_;  // known before the process has ended; the first one counts
};

}  // namespace gemel::cli
