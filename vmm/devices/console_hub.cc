#include "vmm/devices/console_hub.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/file_util.h"
#include "base/load_le.h"
#include "base/log.h"
#include "vmm/devices/console_client.h"

namespace gemel {

using Verdict = ConsoleClient::Verdict;

Result<std::unique_ptr<ConsoleHub>> ConsoleHub::Create(std::string name, EventLoop* loop,
                                                       UniqueFd listener, UniqueFd last,
                                                       std::size_t kept_bytes) {
  ASSIGN_OR_RETURN(EventFd kick, EventFd::Create());
  std::unique_ptr<ConsoleHub> hub(new ConsoleHub(std::move(name), loop, std::move(listener),
                                                 std::move(last), std::move(kick), kept_bytes));
  RETURN_IF_ERROR(
      loop->Watch(hub->kick_.get(), EPOLLIN, [raw = hub.get()](std::uint32_t) { raw->OnKick(); }));
  return hub;
}

ConsoleHub::ConsoleHub(std::string name, EventLoop* loop, UniqueFd listener, UniqueFd last,
                       EventFd kick, std::size_t kept_bytes)
    : name_(std::move(name)),
      loop_(loop),
      listener_(std::move(listener)),
      last_(std::move(last)),
      kick_(std::move(kick)),
      ring_(kept_bytes) {}

ConsoleHub::~ConsoleHub() {
  clients_.clear();
  loop_->Unwatch(listener_.get());
  loop_->Unwatch(kick_.get());
}

void ConsoleHub::Connect(SerialPort* port) {
  port_ = port;
  const Status watched =
      loop_->Watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { OnConnection(); });
  if (!watched) LOG_UNLIMITED(kWarning, name_, "not connected: {}", watched.error().message);
}

// On a vCPU's thread. One kick is enough until the loop has seen it.
std::size_t ConsoleHub::Write(std::span<const std::byte> bytes) {
  {
    const MutexLock lock(mutex_);
    ring_.Append(bytes);
  }
  if (!kicked_.exchange(true)) kick_.Signal();
  return bytes.size();
}

void ConsoleHub::WantInput() {
  input_wanted_ = true;
  if (!kicked_.exchange(true)) kick_.Signal();
}

void ConsoleHub::OnKick() {
  kick_.Drain();
  kicked_ = false;
  const bool input = input_wanted_.exchange(false);
  for (auto it = clients_.begin(); it != clients_.end();) {
    ConsoleClient& client = **it++;  // it may go
    Verdict verdict = input ? client.ResumeInput() : Verdict::kStay;
    if (verdict == Verdict::kStay) verdict = client.Send();
    if (verdict == Verdict::kLeave) Drop(&client);
  }
}

void ConsoleHub::OnConnection() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    if (errno != EMFILE && errno != ENFILE) return;  // it left again
    LOG(kWarning, name_, "no more clients: {}", std::strerror(errno));
    loop_->Unwatch(listener_.get());  // or the loop would spin
    return;
  }
  if (clients_.size() >= kMostClients) {
    LOG(kWarning, name_, "more than {} clients: one is sent away", kMostClients);
    return;
  }
  auto client = std::make_unique<ConsoleClient>(this, std::move(socket));
  if (const Status watched = client->Watch(); !watched) {
    LOG(kWarning, name_, "client refused: {}", watched.error().message);
    return;
  }
  clients_.push_back(std::move(client));
}

void ConsoleHub::Drop(ConsoleClient* client) {
  clients_.remove_if([client](const auto& one) { return one.get() == client; });
}

// ---- the end of the machine ---------------------------------------------------------------------

void ConsoleHub::Deliver(int timeout_ms) {
  SaveLast();
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    OnKick();
    std::vector<pollfd> waiting;
    for (const auto& client : clients_)
      if (client->behind()) waiting.push_back({client->fd(), POLLOUT, 0});
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (waiting.empty() || left.count() <= 0) return;
    poll(waiting.data(), waiting.size(), static_cast<int>(left.count()));
  }
}

void ConsoleHub::SaveLast() {
  if (!last_) return;
  std::array<std::byte, 16 << 10> buffer;
  const MutexLock lock(mutex_);
  std::uint64_t at = ring_.begin();
  StoreLe(std::span(buffer), 0, at);
  Status saved = WriteAll(last_.get(), std::span(buffer).first(8));
  while (saved && at < ring_.end()) {
    const std::size_t size = ring_.Copy(at, buffer);
    saved = WriteAll(last_.get(), std::span(buffer).first(size));
    at += size;
  }
  if (!saved) LOG(kWarning, name_, "the last output is not kept: {}", saved.error().message);
  last_.Reset();
}

}  // namespace gemel
