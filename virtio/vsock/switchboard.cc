#include "virtio/vsock/switchboard.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "virtio/queue/virt_queue.h"
#include "virtio/vsock/dial.h"
#include "virtio/vsock/greeting.h"

namespace gemel::virtio {
namespace {

using Next = VsockConnection::Next;
using State = VsockConnection::State;

constexpr std::uint32_t kStreamEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
// Each connection gets the larger buffer until so much is promised, then the smaller: at most 16
// MiB in all.
constexpr std::uint32_t kLargeBuffer = 64u << 10;
constexpr std::uint32_t kSmallBuffer = 8u << 10;
constexpr std::size_t kPromiseLarge = 8u << 20;
constexpr std::size_t kMaxResets = 256;
constexpr std::size_t kMaxCallers = 64;
constexpr std::size_t kMaxDials = 32;  // at once; more wait their turn
constexpr int kCallersATurn = 16;
constexpr int kRepliesATurn = 32;
constexpr std::int64_t kListenAgainMs = 1000;
constexpr std::int64_t kTimerSlackMs = 50;
// Ports of our own making, as with Firecracker: out of the way of those that programs listen on.
constexpr std::uint32_t kFirstHostPort = 1u << 30;
constexpr std::uint32_t kHostPorts = 1u << 30;

}  // namespace

Result<std::unique_ptr<VsockSwitchboard>> VsockSwitchboard::Create(Options options, EventLoop* loop,
                                                                   Client* client) {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return ErrnoError(errno, "timerfd_create");
  std::unique_ptr<VsockSwitchboard> board(
      new VsockSwitchboard(std::move(options), loop, client, std::move(timer)));
  return board;
}

VsockSwitchboard::~VsockSwitchboard() { CHECK(!open_); }

Status VsockSwitchboard::Open() {
  open_ = true;
  Status watched = loop_->Watch(timer_.get(), EPOLLIN, [this](std::uint32_t) { OnTimer(); });
  if (watched && options_.dialer)
    watched = loop_->Watch(options_.dialer.get(), EPOLLIN, [this](std::uint32_t) { OnDialer(); });
  if (!watched) {
    Close();
    return watched;
  }
  UpdateListener();
  return {};
}

void VsockSwitchboard::Close() {
  if (!std::exchange(open_, false)) return;
  UpdateListener();
  loop_->Unwatch(timer_.get());
  if (options_.dialer) loop_->Unwatch(options_.dialer.get());
  while (!connections_.empty()) Remove(connections_.begin());
  while (!lingering_.empty()) DropLingering(lingering_.begin()->first);
  for (const auto& [number, fd] : callers_) loop_->Unwatch(fd.get());
  callers_.clear();
  ready_.clear();
  resets_.clear();
  dials_waiting_.clear();
}

// ---- the table ----------------------------------------------------------------------------------

// Whether one more connection fits; the oldest stream that only lingers gives way.
bool VsockSwitchboard::MakeRoom() {
  if (connections_.size() >= kMaxVsockConnections) return false;
  if (connections_.size() + lingering_.size() >= kMaxVsockConnections)
    DropLingering(lingering_.begin()->first);
  return true;
}

std::uint32_t VsockSwitchboard::ReserveBuffer() {
  const std::uint32_t size =
      reserved_ + kLargeBuffer <= kPromiseLarge ? kLargeBuffer : kSmallBuffer;
  reserved_ += size;
  return size;
}

void VsockSwitchboard::Apply(Table::iterator at, Next next) {
  if (next == Next::kGoOn) {
    const VsockConnection& connection = at->second.connection;
    if (connection.state() == State::kOpen && !connection.told_all()) at->second.deadline = 0;
    return MarkReady(at->second);
  }
  if (next != Next::kForget) PushReset(at->first);
  std::optional<HostStream> stream;
  if (HostStream* const open = at->second.connection.stream(); open != nullptr) {
    loop_->Unwatch(open->fd());
    if (next != Next::kReset && open->kept() > 0 && !open->refuses())
      stream = std::move(at->second.connection).TakeStream();
  }
  Remove(at);
  if (stream) Linger(*std::move(stream));
}

void VsockSwitchboard::Remove(Table::iterator at) {
  Entry& entry = at->second;
  if (HostStream* const stream = entry.connection.stream(); stream != nullptr)
    loop_->Unwatch(stream->fd());
  reserved_ -= entry.connection.buffer_size();
  if (entry.ready) std::erase(ready_, at->first);
  if (entry.connection.state() == State::kDialing)
    std::erase_if(dials_waiting_, [&](const Dial& dial) { return dial.id == entry.dial_id; });
  connections_.erase(at);
  UpdateListener();
}

// What the guest sent before it closed still reaches the host, as long as that takes.
void VsockSwitchboard::Linger(HostStream stream) {
  const std::uint64_t number = next_number_++;
  const int fd = stream.fd();
  stream.FinishWriting();
  lingering_.emplace(number, std::move(stream));
  const Status watched = loop_->Watch(fd, kStreamEvents, [this, number](std::uint32_t events) {
    HostStream& rest = lingering_.at(number);
    rest.OnEvents(events);
    rest.Flush();
    if (rest.kept() == 0) DropLingering(number);
  });
  if (!watched) lingering_.erase(number);
}

void VsockSwitchboard::DropLingering(std::uint64_t number) {
  const auto at = lingering_.find(number);
  loop_->Unwatch(at->second.fd());
  lingering_.erase(at);
  UpdateListener();
}

void VsockSwitchboard::MarkReady(Entry& entry) {
  if (entry.ready || !entry.connection.HasPacket()) return;
  entry.ready = true;
  ready_.push_back(entry.connection.key());
}

// Edge-triggered: a stream that has to wait for credit, or for the guest's buffers, must not wake us.
Status VsockSwitchboard::WatchStream(const VsockKey& key, int fd) {
  return loop_->Watch(fd, kStreamEvents, [this, key](std::uint32_t events) {
    const auto at = connections_.find(key);
    Apply(at, at->second.connection.OnHostEvents(events));
    Report();
  });
}

void VsockSwitchboard::Address(VsockHeader& header, const VsockKey& key) const {
  header.source_cid = kVsockHostCid;
  header.target_cid = options_.guest_cid;
  header.source_port = key.host_port;
  header.target_port = key.guest_port;
}

void VsockSwitchboard::Report() {
  if (HasPacket()) client_->OnVsockOutput();
}

// ---- packets ------------------------------------------------------------------------------------

bool VsockSwitchboard::HasRoomForPacket() const { return resets_.size() < kMaxResets; }

void VsockSwitchboard::OnPacket(const VsockHeader& header, std::span<const iovec> chain) {
  // Not from this guest, or not to this host: dropped, as Linux's vhost does.
  if (header.source_cid != options_.guest_cid || header.target_cid != kVsockHostCid) return;
  const VsockKey key{.host_port = header.target_port, .guest_port = header.source_port};
  const bool is_reset = header.op == static_cast<std::uint16_t>(VsockOp::kReset);
  // 5.10.6.4.1: a type we do not know is answered with RST; a RST never is.
  if (header.type != kVsockTypeStream) {
    if (!is_reset) PushReset(key);
    return;
  }
  const auto at = connections_.find(key);
  if (at != connections_.end()) return Apply(at, at->second.connection.OnPacket(header, chain));
  if (header.op == static_cast<std::uint16_t>(VsockOp::kRequest)) return OnRequest(key, header);
  if (!is_reset) PushReset(key);
}

std::uint32_t VsockSwitchboard::MakePacket(std::span<const iovec> chain) {
  VsockHeader header;
  const auto finish = [&](const VsockKey& key) {
    Address(header, key);
    CopyToIov(chain, 0, std::as_bytes(std::span(&header, 1)));
    return static_cast<std::uint32_t>(sizeof header) + header.length;
  };
  if (!resets_.empty()) {
    header.op = static_cast<std::uint16_t>(VsockOp::kReset);
    const VsockKey key = resets_.front();
    resets_.pop_front();
    return finish(key);
  }
  while (!ready_.empty()) {
    const VsockKey key = ready_.front();
    ready_.pop_front();
    Entry& entry = connections_.at(key);
    entry.ready = false;
    const bool made = entry.connection.MakePacket(header, chain);
    if (entry.connection.told_all() && entry.deadline == 0)
      SetDeadline(entry, options_.reset_timeout_ms);
    MarkReady(entry);
    if (made) return finish(key);
  }
  return 0;
}

// ---- guest to host ------------------------------------------------------------------------------

void VsockSwitchboard::OnRequest(const VsockKey& key, const VsockHeader& header) {
  if (!options_.dialer || !MakeRoom()) return PushReset(key);
  Entry entry{.connection = VsockConnection(key, header, ReserveBuffer()), .dial_id = next_dial_++};
  dials_waiting_.push_back({entry.dial_id, key});
  connections_.emplace(key, std::move(entry));
  UpdateListener();
  DialNext();
}

void VsockSwitchboard::DialNext() {
  while (options_.dialer && !dials_waiting_.empty() && dials_.size() < kMaxDials) {
    const Dial dial = dials_waiting_.front();
    const VsockDialState sent =
        SendDialRequest(options_.dialer.get(), {.id = dial.id, .port = dial.key.host_port});
    // No room although so few are under way: a reply, and with it room, is to come.
    if (sent == VsockDialState::kAgain && !dials_.empty()) return;
    if (sent != VsockDialState::kDone) return LoseDialer();
    dials_waiting_.pop_front();
    dials_.emplace(dial.id, dial.key);
  }
}

void VsockSwitchboard::OnDialer() {
  for (int i = 0; i < kRepliesATurn; ++i) {
    VsockDialReply reply;
    const VsockDialState state = ReceiveDialReply(options_.dialer.get(), reply);
    if (state == VsockDialState::kAgain) break;
    const auto dial = dials_.find(reply.id);
    if (state == VsockDialState::kGone || dial == dials_.end()) {
      LoseDialer();
      break;
    }
    const VsockKey key = dial->second;
    dials_.erase(dial);
    const auto at = connections_.find(key);
    // The guest may have given up, and even have asked again.
    if (at == connections_.end() || at->second.connection.state() != State::kDialing ||
        at->second.dial_id != reply.id)
      continue;
    if (reply.error != 0) {
      Apply(at, Next::kReset);
    } else {
      OnDialed(key, std::move(reply.fd));
    }
  }
  DialNext();
  Report();
}

void VsockSwitchboard::OnDialed(VsockKey key, UniqueFd fd) {
  const auto at = connections_.find(key);
  if (!WatchStream(key, fd.get())) return Apply(at, Next::kReset);
  at->second.connection.OnDialed(std::move(fd));
  MarkReady(at->second);
}

// Whoever started us is gone, or does not keep to the rules: the guest can reach no more sockets.
void VsockSwitchboard::LoseDialer() {
  LOG_UNLIMITED(kWarning, options_.name, "nobody connects to the host's sockets any more");
  loop_->Unwatch(options_.dialer.get());
  options_.dialer.Reset();
  dials_.clear();
  for (auto at = connections_.begin(); at != connections_.end();) {
    const auto next = std::next(at);
    if (at->second.connection.state() == State::kDialing) Apply(at, Next::kReset);
    at = next;
  }
}

// ---- host to guest ------------------------------------------------------------------------------

// Callers are let in while there is room; the others wait in the backlog.
void VsockSwitchboard::UpdateListener() {
  const bool wanted = open_ && options_.listener && listen_again_ == 0 &&
                      connections_.size() < kMaxVsockConnections;
  if (wanted == listening_) return;
  listening_ = wanted;
  if (!wanted) return loop_->Unwatch(options_.listener.get());
  const Status watched =
      loop_->Watch(options_.listener.get(), EPOLLIN, [this](std::uint32_t) { OnCallers(); });
  if (watched) return;
  listening_ = false;
  LOG(kWarning, options_.name, "not listening: {}", watched.error().message);
}

void VsockSwitchboard::OnCallers() {
  for (int i = 0; i < kCallersATurn && listening_; ++i) {
    UniqueFd fd(accept4(options_.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      AddCaller(std::move(fd));
      continue;
    }
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) break;
    LOG(kWarning, options_.name, "no more connections: {}", std::strerror(errno));
    listen_again_ = MonotonicMs() + kListenAgainMs;
    UpdateListener();
    ArmTimer(listen_again_);
  }
  Report();
}

void VsockSwitchboard::AddCaller(UniqueFd fd) {
  // A caller that says nothing must not keep others out: the oldest gives way.
  if (callers_.size() >= kMaxCallers) {
    loop_->Unwatch(callers_.begin()->second.get());
    callers_.erase(callers_.begin());
  }
  const std::uint64_t number = next_number_++;
  const Status watched =
      loop_->Watch(fd.get(), EPOLLIN | EPOLLRDHUP | EPOLLET, [this, number](std::uint32_t events) {
        OnCallerEvents(number, events);
        Report();
      });
  if (watched) callers_.emplace(number, std::move(fd));
}

void VsockSwitchboard::OnCallerEvents(std::uint64_t number, std::uint32_t events) {
  const auto at = callers_.find(number);
  const int fd = at->second.get();
  std::array<char, kMaxGreeting> text;
  const ssize_t n = recv(fd, text.data(), text.size(), MSG_PEEK | MSG_DONTWAIT);
  VsockGreeting greeting;
  if (n > 0) greeting = ParseVsockGreeting({text.data(), static_cast<std::size_t>(n)});
  const bool left = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
                    (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (greeting.state == VsockGreeting::State::kIncomplete && !left) return;
  loop_->Unwatch(fd);
  UniqueFd caller = std::move(at->second);
  callers_.erase(at);
  if (greeting.state != VsockGreeting::State::kGood) return;
  const auto length = static_cast<ssize_t>(greeting.length);
  if (recv(fd, text.data(), greeting.length, MSG_DONTWAIT) != length) return;
  Connect(std::move(caller), greeting.port);
}

void VsockSwitchboard::Connect(UniqueFd fd, std::uint32_t guest_port) {
  const auto key = MakeRoom() ? FreeKey(guest_port) : std::nullopt;
  if (!key) return;
  const int number = fd.get();
  Entry entry{.connection = VsockConnection(*key, std::move(fd), ReserveBuffer())};
  const auto at = connections_.emplace(*key, std::move(entry)).first;
  if (!WatchStream(*key, number)) return Remove(at);
  SetDeadline(at->second, options_.answer_timeout_ms);
  MarkReady(at->second);
  UpdateListener();
}

std::optional<VsockKey> VsockSwitchboard::FreeKey(std::uint32_t guest_port) {
  // One of so many in a row is free: there are not more connections.
  for (std::size_t i = 0; i <= kMaxVsockConnections; ++i) {
    const VsockKey key{.host_port = kFirstHostPort + next_host_port_, .guest_port = guest_port};
    next_host_port_ = (next_host_port_ + 1) % kHostPorts;
    if (!connections_.contains(key)) return key;
  }
  return std::nullopt;
}

// ---- time ---------------------------------------------------------------------------------------

void VsockSwitchboard::SetDeadline(Entry& entry, std::int64_t ms) {
  entry.deadline = MonotonicMs() + ms;
  ArmTimer(entry.deadline);
}

// One timer for the earliest deadline; what it finds not yet due it arms again.
void VsockSwitchboard::ArmTimer(std::int64_t deadline) {
  if (timer_deadline_ != 0 && timer_deadline_ <= deadline) return;
  timer_deadline_ = deadline;
  const std::int64_t at = deadline + kTimerSlackMs;
  itimerspec spec{};
  spec.it_value.tv_sec = at / 1000;
  spec.it_value.tv_nsec = at % 1000 * 1'000'000;
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

void VsockSwitchboard::OnTimer() {
  std::uint64_t expirations = 0;
  [[maybe_unused]] const ssize_t n = read(timer_.get(), &expirations, sizeof expirations);
  timer_deadline_ = 0;
  const std::int64_t now = MonotonicMs();
  if (listen_again_ != 0 && listen_again_ <= now) listen_again_ = 0;
  for (auto at = connections_.begin(); at != connections_.end();) {
    const auto next = std::next(at);
    Entry& entry = at->second;
    const bool due = entry.deadline != 0 && entry.deadline <= now;
    if (due && (entry.connection.state() == State::kRequesting || entry.connection.told_all())) {
      Apply(at, Next::kReset);
    } else if (due) {
      entry.deadline = 0;  // the guest answered in time
    } else if (entry.deadline != 0) {
      ArmTimer(entry.deadline);
    }
    at = next;
  }
  if (listen_again_ != 0) ArmTimer(listen_again_);
  UpdateListener();
  Report();
}

}  // namespace gemel::virtio
