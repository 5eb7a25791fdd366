#include "virtio/transport/common_config.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace gemel::virtio {
namespace {

constexpr std::uint64_t kTransportFeatures =
    kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx;

std::uint64_t WithHalf(std::uint64_t value, Half half, std::uint32_t bits) {
  return half == Half::kLow ? (value & ~0xffff'ffffull) | bits
                            : (value & 0xffff'ffffull) | std::uint64_t{bits} << 32;
}

}  // namespace

Result<std::unique_ptr<CommonConfig>> CommonConfig::Create(Wiring wiring,
                                                           std::unique_ptr<VirtioDevice> device) {
  std::vector<EventFd> kicks;
  for (std::size_t i = 0; i < device->queue_sizes().size(); ++i) {
    ASSIGN_OR_RETURN(EventFd kick, EventFd::Create());
    kicks.push_back(std::move(kick));
  }
  return std::unique_ptr<CommonConfig>(
      new CommonConfig(std::move(wiring), std::move(device), std::move(kicks)));
}

CommonConfig::CommonConfig(Wiring wiring, std::unique_ptr<VirtioDevice> device,
                           std::vector<EventFd> kicks)
    : wiring_(std::move(wiring)),
      kicks_(std::move(kicks)),
      offered_features_(device->features() | kTransportFeatures),
      device_(std::move(device)) {
  const MutexLock lock(mutex_);
  ClearRegistersLocked();
}

CommonConfig::~CommonConfig() {
  Reset([] {});
  mutex_.Lock();
  while (phase_ != Phase::kSetup) {
    if (reset_ended_.wait_for(mutex_, std::chrono::seconds(5)) == std::cv_status::timeout)
      LOG_UNLIMITED(kWarning, wiring_.name, "waiting for requests in flight to end");
  }
  mutex_.Unlock();
}

// ---- status -------------------------------------------------------------------------------------

std::uint8_t CommonConfig::ReadStatus() const {
  const MutexLock lock(mutex_);
  if (phase_ == Phase::kResetting) return kStatusNeedsReset;
  const bool broken = life_ != nullptr && life_->needs_reset.load(std::memory_order_acquire);
  return static_cast<std::uint8_t>(status_ | (broken ? kStatusNeedsReset : 0));
}

void CommonConfig::WriteStatus(std::uint8_t value, ResetWait wait) {
  if (value == 0) {
    Reset([] {});
    if (wait == ResetWait::kNo) return;
    // std::condition_variable_any wants to do the unlocking itself.
    mutex_.Lock();
    const std::uint64_t before = resets_;
    const bool ended = reset_ended_.wait_for(mutex_, reset_bound_, [&]() NO_THREAD_SAFETY_ANALYSIS {
      return phase_ != Phase::kResetting || resets_ != before;
    });
    mutex_.Unlock();
    if (!ended)
      LOG(kWarning, wiring_.name,
          "reset waits for requests in flight; the driver goes on without it");
    return;
  }

  const MutexLock lock(mutex_);
  if (phase_ == Phase::kResetting) return;
  // 2.1.1: a driver clears no bit, and DEVICE_NEEDS_RESET is not the driver's.
  const auto set = static_cast<std::uint8_t>(value & ~status_ & ~kStatusNeedsReset);
  status_ |= set & (kStatusAcknowledge | kStatusFailed);
  if ((status_ & kStatusAcknowledge) != 0) status_ |= set & kStatusDriver;
  if ((set & kStatusFeaturesOk) != 0 && (status_ & kStatusDriver) != 0) NegotiateLocked();
  if ((set & kStatusDriverOk) != 0 && (status_ & kStatusFeaturesOk) != 0 &&
      (status_ & (kStatusFailed | kStatusNeedsReset)) == 0) {
    ActivateLocked();
  }
}

void CommonConfig::NegotiateLocked() {
  const bool legal = !impossible_features_ && (driver_features_ & ~offered_features_) == 0 &&
                     (driver_features_ & kFeatureVersion1) != 0;
  if (legal) status_ |= kStatusFeaturesOk;
}

// ---- activation ---------------------------------------------------------------------------------

void CommonConfig::ActivateLocked() {
  status_ |= kStatusDriverOk;
  auto activation = BuildActivationLocked();
  Status activated;
  if (activation) {
    life_ = std::make_shared<Life>();
    // The device is ours and gone before we are; the life tells a late call from one that counts.
    // No lock: the worker may call while a vCPU thread holds it.
    activation->needs_reset = [this, life = life_] {
      life->needs_reset.store(true, std::memory_order_release);
      if (!life->over) config_interrupt_.Trigger();
    };
    phase_ = Phase::kActive;
    activated = device_->Activate(*std::move(activation));
  } else {
    activated = std::unexpected(std::move(activation).error());
  }
  if (activated) return;
  LOG(kWarning, wiring_.name, "cannot start: {}; the driver must reset the device",
      activated.error().message);
  status_ |= kStatusNeedsReset;
  config_interrupt_.Trigger();
}

Result<Activation> CommonConfig::BuildActivationLocked() {
  Activation activation{.memory = wiring_.memory,
                        .queues = {},
                        .config_interrupt = &config_interrupt_,
                        .needs_reset = nullptr,
                        .features = driver_features_};
  for (std::uint16_t i = 0; i < queue_count(); ++i) {
    const QueueRegisters& registers = queues_[i];
    if (!registers.ready) continue;
    const std::uint16_t max_size = device_->queue_sizes()[i];
    if (registers.size > max_size)
      return InvalidArgument("queue {}: size {} is more than {}", i, registers.size, max_size);
    const QueueLayout layout{.size = static_cast<std::uint16_t>(registers.size),
                             .descriptors = {registers.address[0]},
                             .driver_ring = {registers.address[1]},
                             .device_ring = {registers.address[2]}};
    // A chain is no longer than its queue (2.7.5.3.1), so a small queue needs no more segments.
    auto queue =
        VirtQueue::Create(*wiring_.memory, layout, driver_features_,
                          std::min(kMaxChainSegments, std::max<std::uint16_t>(layout.size, 1)));
    if (!queue) return WithContext(std::move(queue).error(), fmt::format("queue {}", i));
    activation.queues.push_back({.index = i,
                                 .queue = *std::move(queue),
                                 .kick = &kicks_[i],
                                 .interrupt = wiring_.interrupts->QueueInterrupt(i)});
  }
  return activation;
}

void CommonConfig::ConfigInterrupt::Trigger() {
  owner_->config_interrupts_.fetch_add(1, std::memory_order_release);
  owner_->wiring_.interrupts->ConfigInterrupt()->Trigger();
}

// ---- reset --------------------------------------------------------------------------------------

void CommonConfig::Reset(std::function<void()> done) {
  Phase before;
  {
    const MutexLock lock(mutex_);
    before = phase_;
    if (before == Phase::kSetup) {
      ClearRegistersLocked();
    } else {
      on_reset_.push_back(std::move(done));
      phase_ = Phase::kResetting;
    }
  }
  // NOLINTNEXTLINE(bugprone-use-after-move): moved only in the other phases
  if (before == Phase::kSetup) return done();
  // Without the lock: the device may be done at once, on this thread. Nobody else comes here for
  // this activation, because the phase says so.
  if (before == Phase::kActive) device_->Reset([this] { ResetDone(); });
}

void CommonConfig::ResetDone() {
  std::vector<std::function<void()>> waiting;
  {
    const MutexLock lock(mutex_);
    ClearRegistersLocked();
    phase_ = Phase::kSetup;
    ++resets_;
    waiting = std::exchange(on_reset_, {});
    // Under the lock: the destructor may be who waits.
    reset_ended_.notify_all();
  }
  for (const std::function<void()>& done : waiting) done();
}

void CommonConfig::ClearRegistersLocked() {
  if (life_ != nullptr) life_->over = true;
  life_.reset();
  status_ = 0;
  device_window_ = driver_window_ = 0;
  driver_features_ = 0;
  impossible_features_ = false;
  selected_queue_ = 0;
  queues_.clear();
  for (const std::uint16_t size : device_->queue_sizes()) queues_.push_back({.size = size});
  for (const EventFd& kick : kicks_) kick.Drain();
  wiring_.interrupts->OnReset();
}

// ---- features -----------------------------------------------------------------------------------

void CommonConfig::SelectDeviceFeatures(std::uint32_t window) {
  const MutexLock lock(mutex_);
  if (phase_ != Phase::kResetting) device_window_ = window;
}

std::uint32_t CommonConfig::ReadDeviceFeatures() const {
  const MutexLock lock(mutex_);
  return device_window_ < 2 ? static_cast<std::uint32_t>(offered_features_ >> 32 * device_window_)
                            : 0;
}

void CommonConfig::SelectDriverFeatures(std::uint32_t window) {
  const MutexLock lock(mutex_);
  if (phase_ != Phase::kResetting) driver_window_ = window;
}

std::uint32_t CommonConfig::ReadDriverFeatures() const {
  const MutexLock lock(mutex_);
  return driver_window_ < 2 ? static_cast<std::uint32_t>(driver_features_ >> 32 * driver_window_)
                            : 0;
}

std::uint32_t CommonConfig::SelectedDeviceFeatures() const {
  const MutexLock lock(mutex_);
  return device_window_;
}

std::uint32_t CommonConfig::SelectedDriverFeatures() const {
  const MutexLock lock(mutex_);
  return driver_window_;
}

void CommonConfig::WriteDriverFeatures(std::uint32_t bits) {
  const MutexLock lock(mutex_);
  // 3.1.1: no new features once FEATURES_OK is set.
  if (phase_ != Phase::kSetup || (status_ & kStatusFeaturesOk) != 0) return;
  if (driver_window_ >= 2) {
    impossible_features_ |= bits != 0;
    return;
  }
  driver_features_ =
      WithHalf(driver_features_, driver_window_ == 0 ? Half::kLow : Half::kHigh, bits);
}

// ---- queues -------------------------------------------------------------------------------------

void CommonConfig::SelectQueue(std::uint32_t queue) {
  const MutexLock lock(mutex_);
  if (phase_ != Phase::kResetting) selected_queue_ = queue;
}

std::uint32_t CommonConfig::SelectedQueue() const {
  const MutexLock lock(mutex_);
  return selected_queue_;
}

const CommonConfig::QueueRegisters* CommonConfig::SelectedQueueLocked() const {
  return selected_queue_ < queues_.size() ? &queues_[selected_queue_] : nullptr;
}

// 3.1.1: queues are set up between FEATURES_OK and DRIVER_OK.
CommonConfig::QueueRegisters* CommonConfig::WritableQueueLocked() {
  const bool setting_up = phase_ == Phase::kSetup && (status_ & kStatusFeaturesOk) != 0 &&
                          (status_ & (kStatusDriverOk | kStatusFailed)) == 0;
  if (!setting_up || selected_queue_ >= queues_.size()) return nullptr;
  return &queues_[selected_queue_];
}

std::uint16_t CommonConfig::ReadMaxQueueSize() const {
  const MutexLock lock(mutex_);
  return SelectedQueueLocked() == nullptr ? std::uint16_t{0}
                                          : device_->queue_sizes()[selected_queue_];
}

std::uint32_t CommonConfig::ReadQueueSize() const {
  const MutexLock lock(mutex_);
  const QueueRegisters* const queue = SelectedQueueLocked();
  return queue == nullptr ? 0 : queue->size;
}

void CommonConfig::WriteQueueSize(std::uint32_t size) {
  const MutexLock lock(mutex_);
  QueueRegisters* const queue = WritableQueueLocked();
  if (queue != nullptr && !queue->ready) queue->size = size;
}

bool CommonConfig::ReadQueueReady() const {
  const MutexLock lock(mutex_);
  const QueueRegisters* const queue = SelectedQueueLocked();
  return queue != nullptr && queue->ready;
}

void CommonConfig::WriteQueueReady(bool ready) {
  const MutexLock lock(mutex_);
  QueueRegisters* const queue = WritableQueueLocked();
  if (queue != nullptr) queue->ready = ready;
}

std::uint32_t CommonConfig::ReadQueueAddress(QueuePart part, Half half) const {
  const MutexLock lock(mutex_);
  const QueueRegisters* const queue = SelectedQueueLocked();
  if (queue == nullptr) return 0;
  const std::uint64_t address = queue->address[static_cast<std::size_t>(part)];
  return static_cast<std::uint32_t>(half == Half::kLow ? address : address >> 32);
}

void CommonConfig::WriteQueueAddress(QueuePart part, Half half, std::uint32_t value) {
  const MutexLock lock(mutex_);
  QueueRegisters* const queue = WritableQueueLocked();
  if (queue == nullptr || queue->ready) return;
  std::uint64_t& address = queue->address[static_cast<std::size_t>(part)];
  address = WithHalf(address, half, value);
}

// ---- device configuration -----------------------------------------------------------------------

std::uint32_t CommonConfig::ReadConfigGeneration() {
  std::array<std::byte, 256> now;
  const MutexLock lock(mutex_);
  const std::uint32_t interrupts = config_interrupts_.load(std::memory_order_acquire);
  device_->ReadConfig(0, now);
  if (now != config_seen_ || interrupts != config_interrupts_seen_) ++generation_;
  config_seen_ = now;
  config_interrupts_seen_ = interrupts;
  return generation_;
}

void CommonConfig::ReadConfig(std::uint32_t offset, std::span<std::byte> out) const {
  device_->ReadConfig(offset, out);
}

void CommonConfig::WriteConfig(std::uint32_t offset, std::span<const std::byte> in) {
  {
    const MutexLock lock(mutex_);
    if (phase_ == Phase::kResetting || (status_ & kStatusDriver) == 0) return;
  }
  device_->WriteConfig(offset, in);
}

}  // namespace gemel::virtio
