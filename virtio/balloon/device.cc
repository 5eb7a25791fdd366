#include "virtio/balloon/device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "virtio/balloon/config_space.h"
#include "virtio/worker.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kQueueSize = 128;
// So much is done before other events have their turn: a guest's pages take the kernel about 100 ms
// a GiB.
constexpr int kChainsATurn = 16;
constexpr std::uint64_t kBytesATurn = 256ull << 20;

std::uint32_t PagesOf(std::uint64_t bytes) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(
      bytes / kBalloonPageBytes, std::numeric_limits<std::uint32_t>::max()));
}

class BalloonDevice final : public VirtioDevice, public BalloonControl, public Worker::Client {
 public:
  static Result<Balloon> Create(const BalloonOptions& options);

  DeviceType type() const override { return DeviceType::kBalloon; }
  std::uint64_t features() const override { return features_; }
  std::span<const std::uint16_t> queue_sizes() const override {
    return std::span(kQueueSizes).first((features_ & kBalloonFeatureReporting) != 0 ? 4 : 3);
  }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override;
  void WriteConfig(std::uint32_t offset, std::span<const std::byte> in) override;
  Status Activate(Activation activation) override {
    return worker_->Activate(std::move(activation));
  }
  void Reset(std::function<void()> done) override { worker_->Reset(std::move(done)); }

  void SetTarget(std::uint64_t bytes) override;
  BalloonState Poll() override;

  void OnStart(Activation& activation) override;
  void OnKick(ActiveQueue& queue) override;
  void OnStop(std::function<void()> stopped) override;

 private:
  enum class Role : std::uint8_t { kInflate, kDeflate, kStatistics, kReporting };
  static constexpr std::array<std::uint16_t, 4> kQueueSizes = {kQueueSize, kQueueSize, kQueueSize,
                                                               kQueueSize};

  explicit BalloonDevice(const BalloonOptions& options);
  // Does what the chain asks for; bytes that were given back.
  std::uint64_t Serve(Role role, DescriptorChain chain);
  std::uint64_t Inflate(std::span<const iovec> readable);
  std::uint64_t Report(std::span<const iovec> writable);
  void TakeStatistics(DescriptorChain chain);
  void AskForStatistics();

  const std::string name_;
  const std::uint64_t features_;

  mutable Mutex mutex_;
  BalloonConfigSpace config_ GUARDED_BY(mutex_) = {};
  std::uint64_t reported_ GUARDED_BY(mutex_) = 0;
  BalloonStatistics statistics_ GUARDED_BY(mutex_);
  std::int64_t statistics_at_ms_ GUARDED_BY(mutex_) = -1;

  // The worker's thread's alone.
  Activation* activation_ = nullptr;
  std::array<std::optional<Role>, 4> roles_;  // by queue number
  ActiveQueue* statistics_queue_ = nullptr;
  std::optional<DescriptorChain> statistics_chain_;  // the driver's, until we want newer ones
  std::vector<PageRange> ranges_;

  std::unique_ptr<Worker> worker_;  // last: calls us until it is joined
};

Result<Balloon> BalloonDevice::Create(const BalloonOptions& options) {
  std::unique_ptr<BalloonDevice> device(new BalloonDevice(options));
  ASSIGN_OR_RETURN(device->worker_, Worker::Create(device->name_, device.get()));
  BalloonControl* const control = device.get();
  return Balloon{std::move(device), control};
}

BalloonDevice::BalloonDevice(const BalloonOptions& options)
    : name_(options.name),
      features_(kBalloonFeatureStatistics |
                (options.deflate_on_oom ? kBalloonFeatureDeflateOnOom : 0) |
                (options.free_page_reporting ? kBalloonFeatureReporting : 0)) {
  const MutexLock lock(mutex_);
  config_.num_pages = PagesOf(options.target);
}

// ---- configuration, and the owner ---------------------------------------------------------------

void BalloonDevice::ReadConfig(std::uint32_t offset, std::span<std::byte> out) const {
  std::memset(out.data(), 0, out.size());
  const MutexLock lock(mutex_);
  const auto bytes = std::as_bytes(std::span(&config_, 1));
  if (offset >= bytes.size()) return;
  const std::size_t n = std::min(out.size(), bytes.size() - offset);
  std::copy_n(bytes.begin() + offset, n, out.begin());
}

// 5.5.4: `actual` is the driver's to write, and nothing else.
void BalloonDevice::WriteConfig(std::uint32_t offset, std::span<const std::byte> in) {
  constexpr std::size_t kBegin = offsetof(BalloonConfigSpace, actual);
  const MutexLock lock(mutex_);
  const auto bytes = std::as_writable_bytes(std::span(&config_, 1));
  if (offset < kBegin || offset >= bytes.size()) return;
  const std::size_t n = std::min(in.size(), bytes.size() - offset);
  std::copy_n(in.begin(), n, bytes.begin() + offset);
}

void BalloonDevice::SetTarget(std::uint64_t bytes) {
  {
    const MutexLock lock(mutex_);
    config_.num_pages = PagesOf(bytes);
  }
  worker_->loop().Post([this] {
    if (activation_ != nullptr) activation_->config_interrupt->Trigger();
  });
}

BalloonState BalloonDevice::Poll() {
  worker_->loop().Post([this] { AskForStatistics(); });
  const MutexLock lock(mutex_);
  BalloonState state;
  state.target = std::uint64_t{config_.num_pages} * kBalloonPageBytes;
  state.actual = std::uint64_t{config_.actual} * kBalloonPageBytes;
  state.reported = reported_;
  state.statistics = statistics_;
  if (statistics_at_ms_ >= 0) state.statistics_age_ms = MonotonicMs() - statistics_at_ms_;
  return state;
}

// ---- the driver ---------------------------------------------------------------------------------

// Queues of features that were not negotiated do not exist, and those behind them move up: so do
// Linux and every device that it meets, although 5.5.2 gives each a number of its own.
void BalloonDevice::OnStart(Activation& activation) {
  activation_ = &activation;
  roles_ = {Role::kInflate, Role::kDeflate};
  std::size_t next = 2;
  if ((activation.features & kBalloonFeatureStatistics) != 0) roles_[next++] = Role::kStatistics;
  if ((activation.features & kBalloonFeatureReporting) != 0) roles_[next++] = Role::kReporting;
  for (ActiveQueue& queue : activation.queues)
    if (roles_[queue.index] == Role::kStatistics) statistics_queue_ = &queue;
}

void BalloonDevice::OnStop(std::function<void()> stopped) {
  statistics_chain_.reset();
  statistics_queue_ = nullptr;
  activation_ = nullptr;
  roles_ = {};
  {
    const MutexLock lock(mutex_);
    config_.actual = 0;
    reported_ = 0;
    statistics_ = {};
    statistics_at_ms_ = -1;
  }
  stopped();
}

void BalloonDevice::OnKick(ActiveQueue& active) {
  const std::optional<Role> role = roles_[active.index];
  if (!role) return;
  VirtQueue& queue = *active.queue;
  int left = kChainsATurn;
  std::uint64_t done = 0;
  const auto turn_over = [&] { return left <= 0 || done >= kBytesATurn; };
  do {
    queue.DisableNotification();
    for (; !turn_over(); --left) {
      auto popped = queue.Pop();
      if (!popped) return worker_->Break(active, popped.error());
      if (!popped->has_value()) break;
      done += Serve(*role, **std::move(popped));
    }
  } while (!turn_over() && queue.EnableNotification());
  if (queue.NeedsInterrupt()) active.interrupt->Trigger();
  if (turn_over()) Worker::KickAgain(active);
}

std::uint64_t BalloonDevice::Serve(Role role, DescriptorChain chain) {
  std::uint64_t given_back = 0;
  switch (role) {
    case Role::kInflate:
      given_back = Inflate(chain.readable());
      break;
    case Role::kDeflate:
      break;  // the pages come back by themselves when the guest touches them
    case Role::kStatistics:
      TakeStatistics(std::move(chain));
      return 0;
    case Role::kReporting:
      given_back = Report(chain.writable());
      break;
  }
  std::move(chain).Complete(0);
  return given_back;
}

// Pages that are no RAM, or were given up before, change nothing.
std::uint64_t BalloonDevice::Inflate(std::span<const iovec> readable) {
  ParseBalloonPages(readable, ranges_);
  std::uint64_t given_back = 0;
  for (const PageRange& range : ranges_)
    given_back += activation_->memory->GiveBack(range.start, range.bytes);
  return given_back;
}

// 5.5.6.6: each buffer is a run of free pages.
std::uint64_t BalloonDevice::Report(std::span<const iovec> writable) {
  std::uint64_t given_back = 0;
  for (const iovec& run : writable) given_back += activation_->memory->GiveBack(run);
  const MutexLock lock(mutex_);
  reported_ += given_back;
  return given_back;
}

// The driver leaves one buffer with us, and fills it again when it has it back (5.5.6.3). A driver
// that offers several gets the older ones back at once.
void BalloonDevice::TakeStatistics(DescriptorChain chain) {
  const BalloonStatistics told = ParseBalloonStatistics(chain.readable());
  statistics_chain_.reset();
  statistics_chain_.emplace(std::move(chain));
  const MutexLock lock(mutex_);
  statistics_ = told;
  statistics_at_ms_ = MonotonicMs();
}

void BalloonDevice::AskForStatistics() {
  if (!statistics_chain_ || worker_->broken()) return;
  DescriptorChain chain = *std::move(statistics_chain_);
  statistics_chain_.reset();
  std::move(chain).Complete(0);
  if (statistics_queue_->queue->NeedsInterrupt()) statistics_queue_->interrupt->Trigger();
}

}  // namespace

Result<Balloon> CreateBalloon(const BalloonOptions& options) {
  return BalloonDevice::Create(options);
}

}  // namespace gemel::virtio
