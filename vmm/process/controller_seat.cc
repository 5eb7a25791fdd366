#include "vmm/process/controller_seat.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace gemel {

Result<std::unique_ptr<ControllerSeat>> ControllerSeat::ForOne(UniqueFd socket, EventLoop* loop) {
  std::unique_ptr<ControllerSeat> seat(new ControllerSeat(loop));
  ASSIGN_OR_RETURN(seat->channel_, ControlChannel::Adopt(std::move(socket)));
  return seat;
}

Result<std::unique_ptr<ControllerSeat>> ControllerSeat::ForMany(UniqueFd listener,
                                                                EventLoop* loop) {
  int type = 0;
  int listening = 0;
  socklen_t size = sizeof type;
  if (getsockopt(listener.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      getsockopt(listener.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0)
    return ErrnoError(errno, "control: listening socket");
  if (type != SOCK_SEQPACKET || listening == 0)
    return InvalidArgument("control: not a listening SOCK_SEQPACKET socket");
  std::unique_ptr<ControllerSeat> seat(new ControllerSeat(loop));
  seat->listener_ = std::move(listener);
  return seat;
}

ControllerSeat::~ControllerSeat() {
  Clear();
  if (listener_) loop_->Unwatch(listener_.get());
}

Status ControllerSeat::Begin(Guest guest) {
  guest_ = std::move(guest);
  if (listener_)
    return loop_->Watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { OnConnection(); });
  return Seat(std::move(*std::exchange(channel_, std::nullopt)));
}

void ControllerSeat::OnConnection() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    if (errno == EMFILE || errno == ENFILE) LOG(kWarning, "control", "{}", std::strerror(errno));
    return;  // it left again
  }
  auto channel = ControlChannel::Adopt(std::move(socket));
  if (!channel) {
    LOG(kWarning, "control", "{}", channel.error().message);
    return;
  }
  Clear();
  if (const Status seated = Seat(std::move(*channel)); !seated)
    LOG(kWarning, "control", "{}", seated.error().message);
}

Status ControllerSeat::Seat(ControlChannel channel) {
  held_ = false;
  RETURN_IF_ERROR(loop_->Watch(channel.fd(), EPOLLIN, [this](std::uint32_t) { OnReadable(); }));
  channel_ = std::move(channel);
  guest_.on_seated();
  return {};
}

void ControllerSeat::OnReadable() {
  if (held_) return Leave();  // it is not watched for input now: it hung up
  while (channel_ && !held_) {
    auto received = channel_->Receive();
    if (!received) {
      LOG(kError, "control", "{}", received.error().message);
      return Leave();
    }
    if (received->state == Received::State::kNothing) return;
    if (received->state == Received::State::kClosed) return Leave();
    auto request = DecodeRequest(std::move(received->message));
    if (!request) {
      LOG(kError, "control", "{}", request.error().message);
      return Leave();
    }
    guest_.on_request(std::move(*request));
  }
}

void ControllerSeat::Send(const ControlMessage& message, int timeout_ms) {
  if (!channel_) return;
  const Status sent = channel_->Send(message, timeout_ms);
  if (sent) return;
  LOG(kWarning, "control", "{}", sent.error().message);
  // One who is gone is found by OnReadable, which runs on the loop and not in the middle of
  // something. One of many who only does not listen must not hold us up again.
  if (for_many() && sent.error().code == Code::kUnavailable)
    loop_->Post([this, fd = channel_->fd()] {
      if (channel_ && channel_->fd() == fd) Leave();
    });
}

void ControllerSeat::Hold() {
  held_ = true;
  if (channel_) (void)loop_->Modify(channel_->fd(), 0);
}

void ControllerSeat::Continue() {
  held_ = false;
  if (channel_) (void)loop_->Modify(channel_->fd(), EPOLLIN);
}

void ControllerSeat::Clear() {
  if (!channel_) return;
  loop_->Unwatch(channel_->fd());
  channel_.reset();
  held_ = false;
}

void ControllerSeat::Leave() {
  Clear();
  guest_.on_left();
}

}  // namespace gemel
