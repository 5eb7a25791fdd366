// The MC146818 real-time clock with 114 bytes of CMOS memory behind its index and data ports
// (Motorola MC146818A data sheet). The century is at 0x32, which the FADT says.
//
// The guest's clock is the host's plus an offset in whole seconds; setting it changes the offset,
// for this run of the machine. Alarm, update-ended and periodic interrupts come from a timer on the
// main loop: the clock's seconds are the host's seconds.
//
// Not implemented: alarm and update-ended flags while their interrupts are off, daylight saving
// (register B bit 0 is kept), square wave, divider chain (register A reads as written), NVRAM that
// outlives the machine.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_handler.h"
#include "vmm/devices/rtc_time.h"

namespace gemel {

class Rtc final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 2;  // index at +0, data at +1

  // All outlive it. Created and destroyed on the loop's thread, with no vCPU running.
  static Result<std::unique_ptr<Rtc>> Create(EventLoop* loop, Interrupt* irq, const Clock* clock);
  ~Rtc() override;

  std::string_view name() const override { return "rtc"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override EXCLUDES(mutex_);
  void Write(std::uint64_t offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

  // Machine reset: interrupts off, flags clear. The time and the memory stay (8.1: they have a
  // battery).
  void Reset() EXCLUDES(mutex_);
  // What the timer does; a test calls it when it has moved its clock.
  void OnTimer() EXCLUDES(mutex_);

 private:
  Rtc(EventLoop* loop, Interrupt* irq, const Clock* clock, UniqueFd timer);

  std::uint8_t ReadRegister() REQUIRES(mutex_);
  void WriteRegister(std::uint8_t value) REQUIRES(mutex_);
  void WriteControlB(std::uint8_t value) REQUIRES(mutex_);
  std::optional<std::uint8_t> TimeField(std::uint8_t index) const REQUIRES(mutex_);
  bool SetTimeField(std::uint8_t index, std::uint8_t encoded) REQUIRES(mutex_);
  RtcTime Now() const REQUIRES(mutex_);
  bool UpdateInProgress() const REQUIRES(mutex_);
  bool AlarmMatches(const RtcTime& now) const REQUIRES(mutex_);
  void RaiseFlags(std::uint8_t flags) REQUIRES(mutex_);
  void ArmTimer() REQUIRES(mutex_);
  std::int64_t PeriodNs() const REQUIRES(mutex_);
  RtcFormat format() const REQUIRES(mutex_);
  std::int64_t HostSeconds() const;

  EventLoop* const loop_;
  Interrupt* const irq_;
  const Clock* const clock_;
  const UniqueFd timer_;

  Mutex mutex_;
  std::uint8_t index_ GUARDED_BY(mutex_) = 0;
  std::array<std::uint8_t, 128> memory_ GUARDED_BY(mutex_){};  // alarm, registers A-D and NVRAM
  std::int64_t offset_ GUARDED_BY(mutex_) = 0;                 // guest minus host, in seconds
  std::optional<RtcTime> held_ GUARDED_BY(mutex_);             // while SET is 1
  std::int64_t last_second_ GUARDED_BY(mutex_) = 0;            // the last whose update was reported
};

}  // namespace gemel
