// A virtio device without a thread: it remembers what the transport did with it, and a test decides
// when its reset ends.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "virtio/device.h"

namespace gemel::testing {

class FakeDevice : public virtio::VirtioDevice {
 public:
  static constexpr std::uint64_t kFeatures = 0x25;  // what it offers beside the transport's

  virtio::DeviceType type() const override { return virtio::DeviceType::kEntropy; }
  std::uint64_t features() const override { return kFeatures; }
  std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override {
    std::ranges::fill(out, std::byte{0});
    if (offset >= config.size()) return;
    std::memcpy(out.data(), config.data() + offset, std::min(out.size(), config.size() - offset));
  }
  void WriteConfig(std::uint32_t offset, std::span<const std::byte> in) override {
    if (offset >= config.size() || config.size() - offset < in.size()) return;
    std::memcpy(config.data() + offset, in.data(), in.size());
  }
  Status Activate(virtio::Activation given) override {
    ++activations;
    if (refuse_activation) return FailedPrecondition("the fake device was told to refuse");
    activation = std::move(given);
    return {};
  }
  void Reset(std::function<void()> done) override {
    ++resets;
    reset_done_ = std::move(done);
    if (!hold_reset) return FinishReset();
    if (on_held_reset) on_held_reset();
  }

  // Ends a reset that was held.
  void FinishReset() {
    activation.reset();
    std::exchange(reset_done_, nullptr)();
  }
  bool resetting() const { return reset_done_ != nullptr; }

  bool refuse_activation = false;
  bool hold_reset = false;
  std::function<void()> on_held_reset;  // may let another thread call FinishReset
  int activations = 0;
  int resets = 0;
  std::optional<virtio::Activation> activation;
  std::array<std::byte, 16> config{};

 private:
  std::array<std::uint16_t, 2> queue_sizes_{16, 4};
  std::function<void()> reset_done_;
};

}  // namespace gemel::testing
