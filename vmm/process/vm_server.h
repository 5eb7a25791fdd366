// The control side of a gemel-vmm: carries out the controller's requests on the one machine and
// tells it what happens (vmm/control/control_messages.h has the order of a conversation).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "vmm/config/sandbox_mode.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/control_messages.h"
#include "vmm/machine/machine.h"

namespace gemel {

// One thread: the loop's.
class VmServer : private MachineObserver {
 public:
  // What this process has been confined by, and must be before it runs a guest.
  struct Sandbox {
    SandboxMode mode = SandboxMode::kOff;
    std::vector<SandboxLayer> layers;
  };

  // Says hello and serves `channel` on `loop`, which outlives it, until the machine has ended or
  // the controller is gone; then it stops the loop. With a sandbox the calling thread confines
  // itself once a machine is made of its descriptors.
  static Result<std::unique_ptr<VmServer>> Create(ControlChannel channel, EventLoop* loop,
                                                  Sandbox sandbox);
  ~VmServer() override;

  // What the process should end with: 0 after power-off or a reboot that ends it, 1 after a crash
  // or when the controller vanished.
  int exit_status() const { return exit_status_; }

 private:
  VmServer(ControlChannel channel, EventLoop* loop, Sandbox sandbox)
      : channel_(std::move(channel)), loop_(loop), sandbox_(std::move(sandbox)) {}

  void OnReadable();
  void OnControllerGone();
  void Handle(ControlRequest request);
  Status Carry(std::uint64_t id, ControlRequestBody body);
  Status Configure(ConfigureRequest request);
  Status Start();
  Result<Machine*> machine() const;
  Status SetBalloon(Machine& built, std::uint64_t size) const;
  VmInfo Info() const;
  void Reply(std::uint64_t id, const Status& status);
  void ReplyWithInfo(std::uint64_t id);
  void Send(const ControlMessage& message);
  void End(const ControlEvent& event, int exit_status);

  void OnAssembled() override;
  void OnPoweredOff() override;
  void OnRebootExit() override;
  void OnResetDone() override;
  void OnCrashed(const std::string& reason, const std::string& report) override;
  void OnPanicked() override;

  ControlChannel channel_;
  EventLoop* loop_;
  const Sandbox sandbox_;
  MachineConfig config_;
  std::vector<UniqueFd> locks_;  // of the disks; they fall with the process
  std::unique_ptr<Machine> machine_;
  // A reset is replied to when it is done; until then nothing more is received, which keeps replies
  // in order.
  std::optional<std::uint64_t> reset_request_;
  bool told_to_end_ = false;  // by a PowerOffRequest or by the controller's end
  bool peer_gone_ = false;
  int exit_status_ = 1;
};

}  // namespace gemel
