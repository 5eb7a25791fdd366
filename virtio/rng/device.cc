#include "virtio/rng/device.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "virtio/worker.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kQueueSize = 64;
// 5.4.6.1: the device may use less than the entire buffer. Together these bound one turn to 256
// KiB, about half a millisecond, so that a driver which asks without end cannot hold off a reset.
constexpr std::size_t kBytesAChain = 16 << 10;
constexpr int kChainsATurn = 16;

// Fills one buffer from the host, and says how far it came.
std::size_t Fill(const iovec& buffer, std::size_t limit) {
  const std::size_t wanted = std::min(buffer.iov_len, limit);
  std::size_t done = 0;
  while (done < wanted) {
    const ssize_t n = getrandom(static_cast<std::byte*>(buffer.iov_base) + done, wanted - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

// Buffers of 0 bytes, and readable ones that a driver must not add (5.4.6.1), come back as they
// are.
std::uint32_t Fill(std::span<const iovec> buffers) {
  std::size_t done = 0;
  for (const iovec& buffer : buffers) {
    if (done == kBytesAChain) break;
    done += Fill(buffer, kBytesAChain - done);
  }
  return static_cast<std::uint32_t>(done);
}

class Rng final : public VirtioDevice, public Worker::Client {
 public:
  static Result<std::unique_ptr<VirtioDevice>> Create(std::string name) {
    std::unique_ptr<Rng> rng(new Rng);
    ASSIGN_OR_RETURN(rng->worker_, Worker::Create(std::move(name), rng.get()));
    return rng;
  }

  DeviceType type() const override { return DeviceType::kEntropy; }
  std::uint64_t features() const override { return 0; }
  std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(std::uint32_t, std::span<std::byte> out) const override {
    std::memset(out.data(), 0, out.size());
  }
  void WriteConfig(std::uint32_t, std::span<const std::byte>) override {}
  Status Activate(Activation activation) override {
    return worker_->Activate(std::move(activation));
  }
  void Reset(std::function<void()> done) override { worker_->Reset(std::move(done)); }

  void OnStart(Activation&) override {}
  void OnKick(ActiveQueue& active) override {
    VirtQueue& queue = *active.queue;
    int left = kChainsATurn;
    do {
      queue.DisableNotification();
      for (; left > 0; --left) {
        auto popped = queue.Pop();
        if (!popped) return worker_->Break(active, popped.error());
        if (!popped->has_value()) break;
        const std::uint32_t written = Fill((*popped)->writable());
        (**std::move(popped)).Complete(written);
      }
    } while (left > 0 && queue.EnableNotification());
    if (queue.NeedsInterrupt()) active.interrupt->Trigger();
    if (left == 0) Worker::KickAgain(active);
  }
  void OnStop(std::function<void()> stopped) override { stopped(); }

 private:
  static constexpr std::array kQueueSizes{kQueueSize};
  Rng() = default;

  std::unique_ptr<Worker> worker_;  // last: calls us until it is joined
};

}  // namespace

Result<std::unique_ptr<VirtioDevice>> CreateRng(std::string name) {
  return Rng::Create(std::move(name));
}

}  // namespace gemel::virtio
