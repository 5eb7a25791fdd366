#include "virtio/net/pair.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "net/announcement.h"

namespace gemel::virtio {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

Result<UniqueFd> NewTimer() {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return ErrnoError(errno, "timerfd_create");
  return timer;
}

void Arm(const UniqueFd& timer, std::int64_t wait_ns) {
  itimerspec when{};
  when.it_value.tv_sec = wait_ns / kSecond;
  when.it_value.tv_nsec = wait_ns % kSecond;
  CHECK(timerfd_settime(timer.get(), 0, &when, nullptr) == 0);
}

void Drain(const UniqueFd& timer) {
  std::uint64_t expired = 0;
  static_cast<void>(!read(timer.get(), &expired, sizeof expired));  // EAGAIN: armed anew meanwhile
}

}  // namespace

Result<std::unique_ptr<NetPair>> NetPair::Create(Options options) {
  const std::string name = options.name;
  Permit* const permit = options.permit;
  std::unique_ptr<NetPair> pair(new NetPair(std::move(options)));
  RETURN_IF_ERROR(pair->CreateTimers());
  ASSIGN_OR_RETURN(pair->worker_, Worker::Create(name, pair.get(), ThreadRole::kNet, permit));
  return pair;
}

NetPair::NetPair(Options options)
    : name_(std::move(options.name)),
      index_(options.index),
      owner_(options.owner),
      permit_(options.permit),
      announce_(options.announce),
      backend_(std::move(options.backend)),
      receiver_(backend_.get(), &counters_, options.rx_limit, options.clock),
      transmitter_(backend_.get(), &counters_, options.tx_limit, options.clock, options.permit),
      connected_(backend_->connected()) {
  if (options.vhost) vhost_.emplace(std::move(options.vhost), backend_->vhost_fd());
}

Status NetPair::CreateTimers() {
  if (receiver_.limited()) {
    ASSIGN_OR_RETURN(rx_timer_, NewTimer());
  }
  if (transmitter_.limited()) {
    ASSIGN_OR_RETURN(tx_timer_, NewTimer());
  }
  return {};
}

void NetPair::Poke() {
  if (poked_.exchange(true)) return;
  worker_->loop().Post([this] {
    poked_ = false;
    Refresh();
  });
}

void NetPair::OnStart(Activation& activation) {
  if (!StartVhost(activation)) StartPumps(activation);
  owner_->OnPairStarted(index_, activation);
  receive_offloads_ = ~owner_->Look().settings.receive_offloads;  // whatever it was: set it
  Refresh();
  Announce();
}

// A frame that is lost is no harm: those of the guest say the same.
void NetPair::Announce() {
  if (!announce_ || !owner_->Look().link_up || !Allowed(permit_)) return;
  std::array<std::byte, net::kHeaderBytes> header{};
  auto frame = net::Announcement(*announce_);
  const std::array<iovec, 2> pieces = {
      {{header.data(), header.size()}, {frame.data(), frame.size()}}};
  const net::NetFrame one{pieces};
  std::size_t failed = 0;
  static_cast<void>(backend_->Transmit(std::span(&one, 1), failed));
}

// A kernel that will not is no reason to go without a network.
bool NetPair::StartVhost(Activation& activation) {
  if (!vhost_) return false;
  const auto started = vhost_->Start(worker_.get(), activation, index_);
  if (!started) LOG(kWarning, name_, "{}; goes on without vhost", started.error().message);
  return started.value_or(false);
}

void NetPair::StartPumps(Activation& activation) {
  rx_state_ = NetReceiver::State::kWaiting;
  tx_state_ = NetTransmitter::State::kWaiting;
  for (ActiveQueue& queue : activation.queues) {
    if (queue.index == 2 * index_) rx_queue_ = &queue;
    if (queue.index == 2 * index_ + 1) tx_queue_ = &queue;
  }
  if (rx_queue_ != nullptr) receiver_.Start(*rx_queue_, activation.features);
  if (tx_queue_ != nullptr) transmitter_.Start(*tx_queue_, TransmitOffloads(activation.features));
  if (const Status watched = WatchAll(); !watched) {
    LOG(kError, name_, "cannot be watched: {}", watched.error().message);
    activation.needs_reset();
  }
}

Status NetPair::WatchAll() {
  EventLoop& loop = worker_->loop();
  interest_ = backend_->Interest(false, false);
  RETURN_IF_ERROR(
      loop.Watch(backend_->fd(), interest_, [this](std::uint32_t events) { OnBackend(events); }));
  watched_ = true;
  if (rx_timer_)
    RETURN_IF_ERROR(loop.Watch(rx_timer_.get(), EPOLLIN, [this](std::uint32_t) {
      Drain(rx_timer_);
      RunReceiver();
    }));
  if (tx_timer_)
    RETURN_IF_ERROR(loop.Watch(tx_timer_.get(), EPOLLIN, [this](std::uint32_t) {
      Drain(tx_timer_);
      RunTransmitter();
    }));
  return {};
}

void NetPair::OnStop(std::function<void()> stopped) {
  EventLoop& loop = worker_->loop();
  if (vhost_) vhost_->Stop();
  if (std::exchange(watched_, false)) loop.Unwatch(backend_->fd());
  if (rx_timer_) loop.Unwatch(rx_timer_.get());
  if (tx_timer_) loop.Unwatch(tx_timer_.get());
  receiver_.Stop();
  transmitter_.Stop();
  rx_queue_ = tx_queue_ = nullptr;
  active_ = false;
  if (index_ > 0) static_cast<void>(backend_->SetActive(false));
  owner_->OnPairStopped(index_);
  stopped();
}

void NetPair::OnPermitOver() {
  if (index_ == 0) backend_->SetLink(false);
}

void NetPair::OnPermitRenewed() {
  if (index_ == 0) backend_->SetLink(owner_->Look().link_up);
  if (tx_state_ == NetTransmitter::State::kBlocked) RunTransmitter();
}

// Takes over what the driver or the controller has changed.
void NetPair::Refresh() {
  const NetPairOwner::View view = owner_->Look();
  receiver_.set_filter(view.settings.filter);
  receiver_.set_link(view.link_up);
  transmitter_.set_link(view.link_up);
  const bool by_kernel = vhost_ && vhost_->started();
  if (rx_queue_ == nullptr && tx_queue_ == nullptr && !by_kernel) return;
  const bool active = index_ < view.settings.pairs;
  if (by_kernel && !(active && view.link_up)) RunVhost(false);
  if (const Status set = backend_->SetActive(active); !set)
    LOG(kWarning, name_, "{}", set.error().message);
  // The pairs of one interface share them.
  if (index_ == 0 && receive_offloads_ != view.settings.receive_offloads) {
    receive_offloads_ = view.settings.receive_offloads;
    if (const Status set = backend_->SetReceiveOffloads(receive_offloads_); !set)
      LOG(kWarning, name_, "{}", set.error().message);
  }
  if (by_kernel) return RunVhost(active && view.link_up);
  if (std::exchange(active_, active) != active && active) RunReceiver();
  UpdateInterest();
}

void NetPair::RunVhost(bool running) {
  if (const Status set = vhost_->SetRunning(running); !set)
    LOG(kError, name_, "{}: no frame moves", set.error().message);
}

void NetPair::OnKick(ActiveQueue& queue) {
  if (&queue == rx_queue_) {
    RunReceiver();
  } else if (&queue == tx_queue_) {
    RunTransmitter();
  } else {
    owner_->OnControl(queue);
  }
}

void NetPair::OnBackend(std::uint32_t events) {
  if (worker_->broken()) return;
  RunReceiver();
  // An end that hangs up is told of whatever is asked for; only receiving finds out whether it is over.
  if (watched_ && (events & (EPOLLHUP | EPOLLERR)) != 0 &&
      (!active_ || rx_state_ != NetReceiver::State::kWaiting)) {
    if (receiver_.Discard() == NetReceiver::State::kClosed) {
      Close();
    } else {
      CheckConnection();
    }
  }
  if (tx_state_ == NetTransmitter::State::kBlocked) RunTransmitter();
}

void NetPair::RunReceiver() {
  if (!active_ || !receiver_.started() || !watched_ || worker_->broken()) return;
  rx_state_ = receiver_.Pump();
  switch (rx_state_) {
    case NetReceiver::State::kWaiting:
    case NetReceiver::State::kStarved:
      break;
    case NetReceiver::State::kLimited:
      Arm(rx_timer_, receiver_.wait_ns());
      break;
    case NetReceiver::State::kTurnOver:
      Worker::KickAgain(*rx_queue_);
      break;
    case NetReceiver::State::kBroken:
      return Break(*rx_queue_, receiver_.error());
    case NetReceiver::State::kClosed:
      return Close();
  }
  CheckConnection();
  UpdateInterest();
}

void NetPair::RunTransmitter() {
  if (!transmitter_.started() || worker_->broken()) return;
  tx_state_ = transmitter_.Pump();
  switch (tx_state_) {
    case NetTransmitter::State::kWaiting:
    case NetTransmitter::State::kBlocked:
      break;
    case NetTransmitter::State::kLimited:
      Arm(tx_timer_, transmitter_.wait_ns());
      break;
    case NetTransmitter::State::kTurnOver:
      Worker::KickAgain(*tx_queue_);
      break;
    case NetTransmitter::State::kBroken:
      return Break(*tx_queue_, transmitter_.error());
  }
  UpdateInterest();
}

// Nothing will come any more; what is sent is lost.
void NetPair::Close() {
  LOG(kWarning, name_, "the other end is gone");
  if (std::exchange(watched_, false)) worker_->loop().Unwatch(backend_->fd());
  CheckConnection();
}

void NetPair::Break(ActiveQueue& queue, QueueError error) {
  worker_->Break(queue, error);
  UpdateInterest();
}

void NetPair::UpdateInterest() {
  if (!watched_) return;
  const bool running = !worker_->broken();
  const bool receive =
      running && active_ && receiver_.started() &&
      (rx_state_ == NetReceiver::State::kWaiting || rx_state_ == NetReceiver::State::kTurnOver);
  const bool transmit = running && tx_state_ == NetTransmitter::State::kBlocked;
  const std::uint32_t wanted = backend_->Interest(receive, transmit);
  if (std::exchange(interest_, wanted) == wanted) return;
  CHECK(worker_->loop().Modify(backend_->fd(), wanted));
}

void NetPair::CheckConnection() {
  const bool connected = backend_->connected();
  if (std::exchange(connected_, connected) == connected || index_ != 0) return;
  owner_->OnConnected(connected);
}

}  // namespace gemel::virtio
