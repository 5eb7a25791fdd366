// The register state machine that every virtio transport has: device status, feature negotiation,
// queue set-up, activation and reset (virtio 1.2, sections 2.1-2.4, 3.1; 4.1.4.3 and 4.2.2 differ
// only in where the registers lie). A transport decodes its offsets, calls this, and owns
// interrupts and the notify register.
//
//            ┌───────── registers cleared, waiters told ─────────┐
//            ▼                                                   │ the device's `done`
//   Set-up ── DRIVER_OK, queues built ──▶ Active ── Status := 0 ──▶ Resetting
//
//  * While active only Status, QueueSel and the feature selectors can be written. While resetting
//  nothing
//    can, and Status reads DEVICE_NEEDS_RESET alone: not zero, so a driver that polls goes on
//    polling, and nothing that a driver which does not poll could mistake for success.
//  * What is illegal in a state is ignored (2.1.1 and the registers' own rules bind drivers, but
//  say
//    nothing of what a device does); never more than a driver could reach legally.
//  * Queue addresses and sizes are checked when DRIVER_OK makes queues of them. A set-up that
//  cannot work
//    gives DEVICE_NEEDS_RESET, a configuration interrupt and one rate-limited log line.
//
// Not implemented: VIRTIO_F_RING_RESET, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA, packed
// rings, VIRTIO_F_ACCESS_PLATFORM.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/event_fd.h"
#include "base/mutex.h"
#include "base/result.h"
#include "virtio/device.h"

namespace gemel::virtio {

// Device status bits (2.1).
inline constexpr std::uint8_t kStatusAcknowledge = 1;
inline constexpr std::uint8_t kStatusDriver = 2;
inline constexpr std::uint8_t kStatusDriverOk = 4;
inline constexpr std::uint8_t kStatusFeaturesOk = 8;
inline constexpr std::uint8_t kStatusNeedsReset = 64;
inline constexpr std::uint8_t kStatusFailed = 128;

// How many host segments one chain may have. A device that announces limits (seg_max of blk and
// scsi: header and status take two) stays within it; a longer chain breaks the queue.
inline constexpr std::uint16_t kMaxChainSegments = 128;

// The three 64-bit addresses of a queue, each written in two halves.
enum class QueuePart : std::uint8_t { kDescriptors, kDriverRing, kDeviceRing };
enum class Half : std::uint8_t { kLow, kHigh };

class CommonConfig {
 public:
  // What differs between transports. Outlives the CommonConfig.
  class Interrupts {
   public:
    virtual ~Interrupts() = default;
    // The interrupt of a queue as the driver has set it up; asked at activation. Constant until
    // OnReset.
    virtual Interrupt* QueueInterrupt(std::uint16_t queue) = 0;
    virtual Interrupt* ConfigInterrupt() = 0;
    // The registers have been cleared: forget pending interrupts and vectors. Called with this
    // class's lock held; must not call back.
    virtual void OnReset() = 0;
  };

  struct Wiring {
    std::string name;                     // for log lines: "blk0"
    const GuestMemory* memory = nullptr;  // outlives this
    Interrupts* interrupts = nullptr;     // the same
  };

  static Result<std::unique_ptr<CommonConfig>> Create(Wiring wiring,
                                                      std::unique_ptr<VirtioDevice> device);
  // Resets the device and waits until it has let go of guest memory, however long that takes (it
  // says so in the log): what is in flight would land in freed memory. A process that must die at
  // once exits without destructors.
  ~CommonConfig();
  CommonConfig(const CommonConfig&) = delete;
  CommonConfig& operator=(const CommonConfig&) = delete;

  const std::string& name() const { return wiring_.name; }
  DeviceType device_type() const { return device_->type(); }
  std::uint16_t queue_count() const { return static_cast<std::uint16_t>(kicks_.size()); }
  // What a kick of `queue` signals; for ioeventfd and for transports' own notify register.
  const EventFd& kick(std::uint16_t queue) const { return kicks_[queue]; }

  // ---- registers: any vCPU thread ---------------------------------------------------------------
  std::uint8_t ReadStatus() const EXCLUDES(mutex_);
  enum class ResetWait : std::uint8_t { kNo, kBounded };
  // Writing 0 starts a reset (2.4). With kBounded it waits for its end, at most reset_bound: for
  // transports whose drivers do not poll. Deviating from the order of 3.1.1 is ignored bit by bit;
  // FEATURES_OK is refused for bits that were not offered and without VIRTIO_F_VERSION_1.
  void WriteStatus(std::uint8_t value, ResetWait wait) EXCLUDES(mutex_);

  // 32-bit windows on the feature bits; the selector of a window past bit 63 reads 0 and takes only
  // 0.
  void SelectDeviceFeatures(std::uint32_t window) EXCLUDES(mutex_);
  std::uint32_t ReadDeviceFeatures() const EXCLUDES(mutex_);
  void SelectDriverFeatures(std::uint32_t window) EXCLUDES(mutex_);
  std::uint32_t ReadDriverFeatures() const EXCLUDES(mutex_);
  void WriteDriverFeatures(std::uint32_t bits) EXCLUDES(mutex_);
  // The selectors themselves, for transports in which they can be read.
  std::uint32_t SelectedDeviceFeatures() const EXCLUDES(mutex_);
  std::uint32_t SelectedDriverFeatures() const EXCLUDES(mutex_);

  // The queue registers speak of the selected queue; of one that does not exist they read 0.
  void SelectQueue(std::uint32_t queue) EXCLUDES(mutex_);
  std::uint32_t SelectedQueue() const EXCLUDES(mutex_);
  std::uint16_t ReadMaxQueueSize() const EXCLUDES(mutex_);
  // What the driver wrote; the largest size until then.
  std::uint32_t ReadQueueSize() const EXCLUDES(mutex_);
  void WriteQueueSize(std::uint32_t size) EXCLUDES(mutex_);
  bool ReadQueueReady() const EXCLUDES(mutex_);
  void WriteQueueReady(bool ready) EXCLUDES(mutex_);
  std::uint32_t ReadQueueAddress(QueuePart part, Half half) const EXCLUDES(mutex_);
  void WriteQueueAddress(QueuePart part, Half half, std::uint32_t value) EXCLUDES(mutex_);

  // Changes whenever device configuration may have (2.5.1): compares with what it was at the last
  // call, and counts configuration interrupts, so that a driver between two reads of it sees one
  // state.
  std::uint32_t ReadConfigGeneration() EXCLUDES(mutex_);
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const;
  // Ignored until the driver has announced itself and while resetting (3.1.1).
  void WriteConfig(std::uint32_t offset, std::span<const std::byte> in) EXCLUDES(mutex_);

  // ---- from the machine: any thread
  // --------------------------------------------------------------- Resets device and registers
  // whatever the driver's state. `done` runs once, on this thread or the device's, when both are as
  // new and nothing touches guest memory any more.
  void Reset(std::function<void()> done) EXCLUDES(mutex_);

  // For tests: how long a driver's reset waits.
  void set_reset_bound(std::chrono::milliseconds bound) { reset_bound_ = bound; }

 private:
  enum class Phase : std::uint8_t { kSetup, kActive, kResetting };

  struct QueueRegisters {
    std::uint32_t size;  // as written: checked at activation
    bool ready = false;
    std::array<std::uint64_t, 3> address{};  // by QueuePart
  };

  // One activation. The device's calls for it may come late; they then change nothing that is read.
  struct Life {
    std::atomic<bool> needs_reset{false};
    std::atomic<bool> over{false};
  };

  // Counts configuration changes, then passes the interrupt on.
  class ConfigInterrupt : public Interrupt {
   public:
    explicit ConfigInterrupt(CommonConfig* owner) : owner_(owner) {}
    void Trigger() override;
    int event_fd() const override { return -1; }

   private:
    CommonConfig* const owner_;
  };

  CommonConfig(Wiring wiring, std::unique_ptr<VirtioDevice> device, std::vector<EventFd> kicks);
  void ClearRegistersLocked() REQUIRES(mutex_);
  void NegotiateLocked() REQUIRES(mutex_);
  void ActivateLocked() REQUIRES(mutex_);
  Result<Activation> BuildActivationLocked() REQUIRES(mutex_);
  // Whether queue registers may be written now.
  QueueRegisters* WritableQueueLocked() REQUIRES(mutex_);
  const QueueRegisters* SelectedQueueLocked() const REQUIRES(mutex_);
  void ResetDone() EXCLUDES(mutex_);

  const Wiring wiring_;
  const std::vector<EventFd> kicks_;
  const std::uint64_t offered_features_;
  ConfigInterrupt config_interrupt_{this};
  std::atomic<std::uint32_t> config_interrupts_{0};
  std::chrono::milliseconds reset_bound_{5000};

  mutable Mutex mutex_;
  std::condition_variable_any reset_ended_;
  Phase phase_ GUARDED_BY(mutex_) = Phase::kSetup;
  std::uint64_t resets_ GUARDED_BY(mutex_) = 0;  // ended ones
  std::vector<std::function<void()>> on_reset_ GUARDED_BY(mutex_);
  std::uint8_t status_ GUARDED_BY(mutex_) = 0;
  std::shared_ptr<Life> life_ GUARDED_BY(mutex_);
  std::uint32_t device_window_ GUARDED_BY(mutex_) = 0;
  std::uint32_t driver_window_ GUARDED_BY(mutex_) = 0;
  std::uint64_t driver_features_ GUARDED_BY(mutex_) = 0;
  bool impossible_features_ GUARDED_BY(mutex_) = false;  // the driver wrote a bit past 63
  std::uint32_t selected_queue_ GUARDED_BY(mutex_) = 0;
  std::vector<QueueRegisters> queues_ GUARDED_BY(mutex_);
  std::uint32_t generation_ GUARDED_BY(mutex_) = 0;
  std::array<std::byte, 256> config_seen_ GUARDED_BY(mutex_){};
  std::uint32_t config_interrupts_seen_ GUARDED_BY(mutex_) = 0;

  // Last: goes first, while everything it may call is alive.
  const std::unique_ptr<VirtioDevice> device_;
};

}  // namespace gemel::virtio
