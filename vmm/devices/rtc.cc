#include "vmm/devices/rtc.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/load_le.h"

namespace gemel {
namespace {

constexpr std::int64_t kNsASecond = 1'000'000'000;
// An update takes 1984 us and is announced 244 us ahead (MC146818A, figure 15).
constexpr std::int64_t kUpdateNs = 2'228'000;

// Register indexes (MC146818A, figure 12).
enum : std::uint8_t {
  kSecond = 0x00,
  kSecondAlarm = 0x01,
  kMinute = 0x02,
  kMinuteAlarm = 0x03,
  kHour = 0x04,
  kHourAlarm = 0x05,
  kWeekday = 0x06,
  kDay = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kControlA = 0x0a,
  kControlB = 0x0b,
  kFlagsC = 0x0c,
  kValidD = 0x0d,
  kCentury = 0x32,
};

constexpr std::uint8_t kUpdateInProgress = 1 << 7;  // register A
constexpr std::uint8_t kRateMask = 0x0f;
constexpr std::uint8_t kDefaultA = 0x26;  // 32768 Hz, 1024 Hz

constexpr std::uint8_t kSet = 1 << 7;  // register B
constexpr std::uint8_t kBinary = 1 << 2;
constexpr std::uint8_t kHours24 = 1 << 1;

// The same bits enable in B and report in C.
constexpr std::uint8_t kPeriodic = 1 << 6;
constexpr std::uint8_t kAlarm = 1 << 5;
constexpr std::uint8_t kUpdateEnded = 1 << 4;
constexpr std::uint8_t kInterrupts = kPeriodic | kAlarm | kUpdateEnded;
constexpr std::uint8_t kRequest = 1 << 7;  // C only: some enabled flag is set

constexpr std::uint8_t kValidRamAndTime = 1 << 7;  // register D
constexpr std::uint8_t kDontCare = 0xc0;           // an alarm byte with both bits set matches all

}  // namespace

Result<std::unique_ptr<Rtc>> Rtc::Create(EventLoop* loop, Interrupt* irq, const Clock* clock) {
  UniqueFd timer(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return ErrnoError(errno, "timerfd_create");
  std::unique_ptr<Rtc> rtc(new Rtc(loop, irq, clock, std::move(timer)));
  RETURN_IF_ERROR(loop->Watch(rtc->timer_.get(), EPOLLIN, [raw = rtc.get()](std::uint32_t) {
    std::uint64_t expirations = 0;
    [[maybe_unused]] const ssize_t n = read(raw->timer_.get(), &expirations, sizeof expirations);
    raw->OnTimer();
  }));
  return rtc;
}

Rtc::Rtc(EventLoop* loop, Interrupt* irq, const Clock* clock, UniqueFd timer)
    : loop_(loop), irq_(irq), clock_(clock), timer_(std::move(timer)) {
  const MutexLock lock(mutex_);
  memory_[kControlA] = kDefaultA;
  memory_[kControlB] = kHours24;
}

Rtc::~Rtc() { loop_->Unwatch(timer_.get()); }

std::int64_t Rtc::HostSeconds() const { return clock_->RealtimeNow() / kNsASecond; }

RtcFormat Rtc::format() const {
  return {.binary = (memory_[kControlB] & kBinary) != 0,
          .hours24 = (memory_[kControlB] & kHours24) != 0};
}

RtcTime Rtc::Now() const { return held_ ? *held_ : RtcTimeFromSeconds(HostSeconds() + offset_); }

// ---- the ports ----------------------------------------------------------------------------------

void Rtc::Read(std::uint64_t offset, std::span<std::byte> data) {
  const MutexLock lock(mutex_);
  StoreRegister(data, offset == 1 ? ReadRegister() : 0xff);  // the index port cannot be read back
}

void Rtc::Write(std::uint64_t offset, std::span<const std::byte> data) {
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  const MutexLock lock(mutex_);
  if (offset == 1) return WriteRegister(value);
  index_ = value & 0x7f;  // bit 7 masks NMIs, of which there are none
  if (data.size() > 1) WriteRegister(std::to_integer<std::uint8_t>(data[1]));
}

std::uint8_t Rtc::ReadRegister() {
  if (const auto field = TimeField(index_)) return *field;
  switch (index_) {
    case kControlA:
      return static_cast<std::uint8_t>(memory_[kControlA] |
                                       (UpdateInProgress() ? kUpdateInProgress : 0));
    case kFlagsC:
      return std::exchange(memory_[kFlagsC], std::uint8_t{0});  // reading clears (register C)
    case kValidD:
      return kValidRamAndTime;
    default:
      return memory_[index_];
  }
}

void Rtc::WriteRegister(std::uint8_t value) {
  if (SetTimeField(index_, value)) return;
  switch (index_) {
    case kControlA:
      memory_[kControlA] = value & static_cast<std::uint8_t>(~kUpdateInProgress);
      return ArmTimer();
    case kControlB:
      return WriteControlB(value);
    case kFlagsC:
    case kValidD:
      return;  // read-only
    default:
      memory_[index_] = value;
  }
}

void Rtc::WriteControlB(std::uint8_t value) {
  if ((value & kSet) != 0) {
    if (!held_) held_ = Now();
    value &= static_cast<std::uint8_t>(~kUpdateEnded);  // SET clears UIE
  } else if (held_) {
    offset_ = SecondsFromRtcTime(*std::exchange(held_, std::nullopt)) - HostSeconds();
  }
  memory_[kControlB] = value;
  last_second_ = HostSeconds();
  RaiseFlags(0);
  ArmTimer();
}

// ---- the time -----------------------------------------------------------------------------------

std::optional<std::uint8_t> Rtc::TimeField(std::uint8_t index) const {
  const RtcTime now = Now();
  switch (index) {
    case kSecond:
      return EncodeRtcNumber(now.second, format());
    case kMinute:
      return EncodeRtcNumber(now.minute, format());
    case kHour:
      return EncodeRtcHour(now.hour, format());
    case kWeekday:
      return EncodeRtcNumber(now.weekday, format());
    case kDay:
      return EncodeRtcNumber(now.day, format());
    case kMonth:
      return EncodeRtcNumber(now.month, format());
    case kYear:
      return EncodeRtcNumber(now.year, format());
    case kCentury:
      return EncodeRtcNumber(now.century, format());
    default:
      return std::nullopt;
  }
}

bool Rtc::SetTimeField(std::uint8_t index, std::uint8_t encoded) {
  RtcTime now = Now();
  const std::uint8_t number = DecodeRtcNumber(encoded, format());
  switch (index) {
    case kSecond:
      now.second = number;
      break;
    case kMinute:
      now.minute = number;
      break;
    case kHour:
      now.hour = DecodeRtcHour(encoded, format());
      break;
    case kWeekday:
      now.weekday = number;
      break;
    case kDay:
      now.day = number;
      break;
    case kMonth:
      now.month = number;
      break;
    case kYear:
      now.year = number;
      break;
    case kCentury:
      now.century = number;
      break;
    default:
      return false;
  }
  if (held_) {
    held_ = now;
  } else {
    offset_ = SecondsFromRtcTime(now) - HostSeconds();
  }
  return true;
}

bool Rtc::UpdateInProgress() const {
  return !held_ && clock_->RealtimeNow() % kNsASecond >= kNsASecond - kUpdateNs;
}

// ---- interrupts ---------------------------------------------------------------------------------

bool Rtc::AlarmMatches(const RtcTime& now) const {
  const auto matches = [](std::uint8_t alarm, std::uint8_t field) {
    return (alarm & kDontCare) == kDontCare || alarm == field;
  };
  return matches(memory_[kSecondAlarm], EncodeRtcNumber(now.second, format())) &&
         matches(memory_[kMinuteAlarm], EncodeRtcNumber(now.minute, format())) &&
         matches(memory_[kHourAlarm], EncodeRtcHour(now.hour, format()));
}

// Sets `flags`; the line goes up when the first enabled one does, and stays so until C is read.
void Rtc::RaiseFlags(std::uint8_t flags) {
  std::uint8_t& c = memory_[kFlagsC];
  c |= flags;
  if ((c & memory_[kControlB] & kInterrupts) == 0 || (c & kRequest) != 0) return;
  c |= kRequest;
  irq_->Trigger();
}

void Rtc::OnTimer() {
  const MutexLock lock(mutex_);
  std::uint8_t flags = (memory_[kControlB] & kPeriodic) != 0 ? kPeriodic : 0;
  const std::int64_t second = HostSeconds();
  if (second != last_second_ && !held_) {
    flags |= kUpdateEnded;
    if (AlarmMatches(Now())) flags |= kAlarm;
  }
  last_second_ = second;
  RaiseFlags(flags);
  ArmTimer();
}

// 0 while there is none (register A: rate 0). Rates 1 and 2 are those of 8 and 9.
std::int64_t Rtc::PeriodNs() const {
  const unsigned rate = memory_[kControlA] & kRateMask;
  if ((memory_[kControlB] & kPeriodic) == 0 || rate == 0) return 0;
  const unsigned shift = rate <= 2 ? rate + 6 : rate - 1;
  return (kNsASecond << shift) / 32768;
}

// At the next second if anybody waits for one, at the next period if that is sooner, else never.
void Rtc::ArmTimer() {
  const std::int64_t now = clock_->RealtimeNow();
  std::int64_t wait = 0;
  if ((memory_[kControlB] & (kAlarm | kUpdateEnded)) != 0) wait = kNsASecond - now % kNsASecond;
  if (const std::int64_t period = PeriodNs(); period != 0 && (wait == 0 || period < wait))
    wait = period;
  itimerspec when{};
  when.it_value.tv_sec = wait / kNsASecond;
  when.it_value.tv_nsec = wait % kNsASecond;
  timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void Rtc::Reset() {
  const MutexLock lock(mutex_);
  memory_[kControlB] &= static_cast<std::uint8_t>(~kInterrupts);
  memory_[kFlagsC] = 0;
  held_.reset();
  ArmTimer();
}

}  // namespace gemel
