// Message-signalled interrupts that remember what was sent. They behave as KVM's do: a real eventfd
// carries the triggers, so that a test may signal it as vhost would. Any thread, but for the public
// members.
#pragma once
#include <poll.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/event_fd.h"
#include "vmm/bus/msi.h"

namespace gemel::testing {

class FakeMsi : public MsiInterrupt {
 public:
  struct Message {
    std::uint64_t address;
    std::uint32_t data;
    bool operator==(const Message&) const = default;
  };

  FakeMsi() : event_(MakeEvent()) {}

  void Trigger() override {
    const std::lock_guard lock(mutex_);
    event_.Signal();
    PumpLocked();
  }
  int event_fd() const override { return event_.get(); }

  Status SetMessage(std::uint64_t address, std::uint32_t data) override {
    const std::lock_guard lock(mutex_);
    message_.reset();
    if (refuse) return FailedPrecondition("the fake MSI was told to refuse");
    message_ = {address, data};
    ++set_messages;
    PumpLocked();
    return {};
  }
  void Withdraw() override {
    const std::lock_guard lock(mutex_);
    PumpLocked();
    message_.reset();
  }
  bool pending() const override {
    const std::lock_guard lock(mutex_);
    pollfd event{.fd = event_.get(), .events = POLLIN, .revents = 0};
    return !message_.has_value() && poll(&event, 1, 0) == 1;
  }
  void ClearPending() override { event_.Drain(); }

  // What the kernel does by itself when the eventfd was signalled.
  void Pump() {
    const std::lock_guard lock(mutex_);
    PumpLocked();
  }
  const std::optional<Message>& message() const { return message_; }

  std::vector<Message> sent;
  int set_messages = 0;
  bool refuse = false;

 private:
  static EventFd MakeEvent() {
    auto event = EventFd::Create();
    CHECK(event.has_value());
    return *std::move(event);
  }

  void PumpLocked() {
    if (message_.has_value() && event_.Drain()) sent.push_back(*message_);
  }

  EventFd event_;
  mutable std::mutex mutex_;
  std::optional<Message> message_;
};

class FakeMsiAllocator : public MsiAllocator {
 public:
  Result<std::unique_ptr<MsiInterrupt>> CreateMsi() override {
    if (left == 0) return MakeError(Code::kResourceExhausted, "no more MSIs");
    --left;
    auto msi = std::make_unique<FakeMsi>();
    made.push_back(msi.get());
    return msi;
  }

  std::vector<FakeMsi*> made;  // in this order; owned by who asked for them
  int left = 1 << 30;
};

}  // namespace gemel::testing
