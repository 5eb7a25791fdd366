// One live VM as its daemon holds it: the end of its jail, and a conversation with its gemel-vmm.
// The process was started by this daemon or by one before it.
//
// One thread: the loop's. Destroying it ends nothing.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/timer.h"
#include "base/unique_fd.h"
#include "grpc/vm_exit.h"
#include "grpc/vm_folder.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/control_messages.h"

namespace gemel::daemon {

class VmProcess {
 public:
  using ReplyCallback = std::function<void(Result<ControlReply>)>;
  // on_end may destroy the process.
  struct Owner {
    std::function<void(const ControlEvent&)> on_event;
    // It lives, and the conversation has ended; it is begun anew as soon as that can be.
    std::function<void(std::string reason)> on_unreachable;
    std::function<void(VmExit)> on_end;  // once; nothing of it runs any more
  };
  // Of the jail's outer process.
  struct Jail {
    pid_t pid = -1;
    UniqueFd pidfd;
  };

  VmProcess(EventLoop* loop, VmFolder folder, Jail jail);
  ~VmProcess();
  VmProcess(const VmProcess&) = delete;
  VmProcess& operator=(const VmProcess&) = delete;

  // Connects, and watches from here on.
  Status Begin(Owner owner);

  const VmFolder& folder() const { return folder_; }
  pid_t jail_pid() const { return jail_.pid; }
  // Within a request's `done`: an error is its own answer, not that there will be none.
  bool reachable() const { return channel_.has_value() && !told_; }

  // `done` is called once, unless this is destroyed first: with the reply, kDeadlineExceeded, or
  // kUnavailable if the conversation ends. Never from within this call.
  void Request(ControlRequestBody body, int timeout_ms, ReplyCallback done);
  // PowerOff, and force if it has not ended some seconds later.
  void PowerOff(ReplyCallback done);
  // SIGKILL for what is in the jail, which then tells how it ended.
  void Terminate() const;

 private:
  struct Pending {
    ReplyCallback done;
    std::unique_ptr<Timer> deadline;
  };

  Status Connect();
  void ConnectAgain();
  void OnReadable();
  void OnReply(ControlReply reply);
  void OnConversationEnds(std::string reason);
  void FailPending(const Error& error);
  void OnJailEnds();
  void LookForTheEnd();
  void TellTheEnd(VmExit exit);
  void Later(std::function<void()> task);

  EventLoop* const loop_;
  const VmFolder folder_;
  Jail jail_;
  Owner owner_;
  std::optional<ControlChannel> channel_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, Pending> pending_;
  bool power_off_asked_ = false;
  bool forced_ = false;
  bool told_ = false;
  bool jail_ended_ = false;
  std::int64_t jail_ended_at_ms_ = 0;
  int jail_signal_ = 0;
  Timer force_timer_, look_timer_;
  // Closures in the loop's queue hold a weak reference.
  const std::shared_ptr<VmProcess*> alive_ = std::make_shared<VmProcess*>(this);
};

}  // namespace gemel::daemon
