// A virtio device without a thread that a fuzzer's input makes work, refuse, hold resets and complain.
// It checks that activations and resets pair up.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/ring_bender.h"
#include "virtio/device.h"

namespace gemel::testing {

// Echoes, and keeps some chains; the fuzzer says when its resets end.
// `Input` is clang's FuzzedDataProvider, which only clang can include.
template <class Input>
class EchoDevice : public virtio::VirtioDevice {
 public:
  static constexpr std::uint64_t kFeatures = 0x3;

  explicit EchoDevice(Input& input) : input_(input) {}

  virtio::DeviceType type() const override { return virtio::DeviceType::kEntropy; }
  std::uint64_t features() const override { return kFeatures; }
  std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = offset + i < 4 ? config_ : std::byte{0};
  }
  void WriteConfig(std::uint32_t, std::span<const std::byte> in) override { config_ = in[0]; }

  Status Activate(virtio::Activation activation) override {
    CHECK(!active_ && !reset_done_);
    if (Rarely(input_)) return FailedPrecondition("refused");
    active_ = std::move(activation);
    late_needs_reset_ = active_->needs_reset;
    if (Rarely(input_)) active_->needs_reset();
    return {};
  }
  void Reset(std::function<void()> done) override {
    CHECK(!reset_done_);
    reset_done_ = std::move(done);
    if (!Rarely(input_) || ending_) FinishReset();
  }

  void FinishReset() {
    if (!reset_done_) return;
    chains_.clear();
    active_.reset();
    std::exchange(reset_done_, nullptr)();
  }
  void FinishAll() {
    ending_ = true;
    FinishReset();
  }
  bool resetting() const { return reset_done_ != nullptr; }

  void Work() {
    if (!active_) return;
    for (virtio::ActiveQueue& queue : active_->queues) {
      queue.kick->Drain();
      WorkQueue(queue);
    }
  }
  void Annoy() {
    if (late_needs_reset_) late_needs_reset_();
    if (active_ && Rarely(input_)) active_->config_interrupt->Trigger();
  }

 private:
  void WorkQueue(virtio::ActiveQueue& active) {
    for (int i = 0; i < 8; ++i) {
      auto popped = active.queue->Pop();
      if (!popped) return active_->needs_reset();
      if (!popped->has_value()) break;
      virtio::DescriptorChain chain = **std::move(popped);
      if (Rarely(input_)) {
        chains_.push_back(std::move(chain));
        continue;
      }
      std::array<std::byte, 32> bytes;
      const std::size_t n = virtio::CopyFromIov(chain.readable(), 0, bytes);
      const std::size_t written = virtio::CopyToIov(chain.writable(), 0, std::span(bytes).first(n));
      std::move(chain).Complete(static_cast<std::uint32_t>(written));
    }
    if (active.queue->NeedsInterrupt()) active.interrupt->Trigger();
  }

  Input& input_;
  const std::array<std::uint16_t, 2> sizes_{16, 8};
  std::byte config_{};
  std::optional<virtio::Activation> active_;
  std::vector<virtio::DescriptorChain> chains_;  // in flight
  std::function<void()> reset_done_;
  std::function<void()> late_needs_reset_;
  bool ending_ = false;
};

}  // namespace gemel::testing
