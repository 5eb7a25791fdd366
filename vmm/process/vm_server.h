// The control side of a gemel-vmm: carries out the controller's requests on the one machine and
// tells it what happens (vmm/control/control_messages.h has the order of a conversation).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "vmm/config/sandbox_mode.h"
#include "vmm/control/control_messages.h"
#include "vmm/machine/machine.h"
#include "vmm/process/controller_seat.h"

namespace gemel {

// One thread: the loop's.
class VmServer : private MachineObserver {
 public:
  // What this process has been confined by, and must be before it runs a guest.
  struct Sandbox {
    SandboxMode mode = SandboxMode::kOff;
    std::vector<SandboxLayer> layers;
  };

  // Says hello to whoever takes `seat` and serves them on `loop`, which outlives it, until the
  // machine has ended; then it stops the loop. So does the end of a controller whom no other can
  // follow, or who has configured nothing yet. With a sandbox the calling thread confines itself
  // once a machine is made of its descriptors. `report_fd`: SayLastWords.
  static Result<std::unique_ptr<VmServer>> Create(std::unique_ptr<ControllerSeat> seat,
                                                  EventLoop* loop, Sandbox sandbox, int report_fd);
  ~VmServer() override;

  // What the process should end with: 0 after power-off or a reboot that ends it, 1 after a crash
  // or when the controller vanished.
  int exit_status() const { return exit_status_; }

 private:
  VmServer(std::unique_ptr<ControllerSeat> seat, EventLoop* loop, Sandbox sandbox, int report_fd)
      : seat_(std::move(seat)), loop_(loop), sandbox_(std::move(sandbox)), report_fd_(report_fd) {}

  Status WaitForTheFirst();
  void OnSeated();
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
  struct Ending {
    ControlEvent event;
    int exit_status = 0;
    std::string_view word;  // SayLastWords
    std::string reason;
  };
  void End(const Ending& ending);

  void OnAssembled() override;
  void OnPoweredOff() override;
  void OnRebootExit() override;
  void OnResetDone() override;
  void OnCrashed(const std::string& reason, const std::string& report) override;
  void OnTripleFault(const std::string& reason, const std::string& report) override;
  void OnPanicked() override;
  void OnLatched(const MachineFence& fence) override;
  void OnDiskTrouble(const std::string& device, const virtio::BlkTrouble& trouble) override;

  const std::unique_ptr<ControllerSeat> seat_;
  EventLoop* loop_;
  const Sandbox sandbox_;
  const int report_fd_;
  UniqueFd patience_;  // a timer until the first controller comes
  MachineConfig config_;
  std::vector<UniqueFd> locks_;  // of the disks; they fall with the process
  std::unique_ptr<Machine> machine_;
  // A reset is replied to when it is done; until then nothing more is received, which keeps replies
  // in order.
  std::optional<std::uint64_t> reset_request_;
  bool told_to_end_ = false;  // by a PowerOffRequest or by the controller's end
  int exit_status_ = 1;
};

}  // namespace gemel
