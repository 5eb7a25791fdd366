// Where the controller of a gemel-vmm sits. One at a time, over a connected socket for good; or over
// connections of a listening one, of which the newest wins and the older is closed: a daemon that was
// restarted simply comes again.
//
// One thread: the loop's.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/control_messages.h"

namespace gemel {

class ControllerSeat {
 public:
  struct Guest {
    std::function<void(ControlRequest)> on_request;
    // A controller sits down. Requests of the one before it need no answer any more.
    std::function<void()> on_seated;
    // The seat is empty. With a listening socket another may come.
    std::function<void()> on_left;
  };

  // `loop` outlives the seat. Nobody is seated before Begin.
  static Result<std::unique_ptr<ControllerSeat>> ForOne(UniqueFd socket, EventLoop* loop);
  // kInvalidArgument if it is not a listening Unix SOCK_SEQPACKET socket.
  static Result<std::unique_ptr<ControllerSeat>> ForMany(UniqueFd listener, EventLoop* loop);
  ~ControllerSeat();

  Status Begin(Guest guest);
  bool for_many() const { return static_cast<bool>(listener_); }
  bool taken() const { return channel_.has_value(); }

  // To whoever sits here; to nobody if the seat is empty. One of many that takes nothing for
  // `timeout_ms` has to leave.
  void Send(const ControlMessage& message, int timeout_ms);
  // Receives nothing until Continue or the next controller: requests are answered in order.
  void Hold();
  void Continue();

 private:
  explicit ControllerSeat(EventLoop* loop) : loop_(loop) {}
  void OnConnection();
  Status Seat(ControlChannel channel);
  void OnReadable();
  void Clear();
  void Leave();

  EventLoop* const loop_;
  UniqueFd listener_;
  Guest guest_;
  std::optional<ControlChannel> channel_;
  bool held_ = false;
};

}  // namespace gemel
