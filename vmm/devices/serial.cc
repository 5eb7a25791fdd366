#include "vmm/devices/serial.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace gemel {
namespace {

// Register offsets (PC16550D, table II); 0 and 1 are the divisor latch while DLAB is set.
constexpr std::uint64_t kData = 0;  // read RBR, write THR
constexpr std::uint64_t kInterruptEnable = 1;
constexpr std::uint64_t kInterruptId = 2;  // read IIR, write FCR
constexpr std::uint64_t kLineControl = 3;
constexpr std::uint64_t kModemControl = 4;
constexpr std::uint64_t kLineStatus = 5;
constexpr std::uint64_t kModemStatus = 6;
constexpr std::uint64_t kScratch = 7;

constexpr std::uint8_t kIerReceived = 1 << 0;
constexpr std::uint8_t kIerThrEmpty = 1 << 1;
constexpr std::uint8_t kIerLineStatus = 1 << 2;
constexpr std::uint8_t kIerModemStatus = 1 << 3;
constexpr std::uint8_t kIerMask = 0x0f;

// 8.6, table III, by falling priority.
constexpr std::uint8_t kIdLineStatus = 0x06;
constexpr std::uint8_t kIdReceived = 0x04;
constexpr std::uint8_t kIdTimeout = 0x0c;
constexpr std::uint8_t kIdThrEmpty = 0x02;
constexpr std::uint8_t kIdModemStatus = 0x00;
constexpr std::uint8_t kIdNone = 0x01;
constexpr std::uint8_t kIdFifosEnabled = 0xc0;

constexpr std::uint8_t kFcrEnable = 1 << 0;
constexpr std::uint8_t kFcrClearReceiver = 1 << 1;

constexpr std::uint8_t kLcrDivisorLatch = 1 << 7;

constexpr std::uint8_t kMcrDtr = 1 << 0;
constexpr std::uint8_t kMcrRts = 1 << 1;
constexpr std::uint8_t kMcrOut1 = 1 << 2;
constexpr std::uint8_t kMcrOut2 = 1 << 3;
constexpr std::uint8_t kMcrLoop = 1 << 4;
constexpr std::uint8_t kMcrMask = 0x1f;

constexpr std::uint8_t kLsrDataReady = 1 << 0;
constexpr std::uint8_t kLsrOverrun = 1 << 1;
constexpr std::uint8_t kLsrBreak = 1 << 4;
constexpr std::uint8_t kLsrThrEmpty = 1 << 5;
constexpr std::uint8_t kLsrTransmitterEmpty = 1 << 6;
constexpr std::uint8_t kLsrFifoError = 1 << 7;

constexpr std::uint8_t kMsrDeltaRing = 1 << 2;  // RI went from on to off
constexpr std::uint8_t kMsrDeltas = 0x0f;
constexpr std::uint8_t kMsrCts = 1 << 4;
constexpr std::uint8_t kMsrDsr = 1 << 5;
constexpr std::uint8_t kMsrRing = 1 << 6;
constexpr std::uint8_t kMsrDcd = 1 << 7;

constexpr std::uint16_t kDivisor9600 = 12;
constexpr long kGatherNs = 4'000'000;

}  // namespace

Result<std::unique_ptr<Serial>> Serial::Create(std::string name, EventLoop* loop, Interrupt* irq,
                                               std::unique_ptr<SerialBackend> backend) {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return ErrnoError(errno, "timerfd_create");
  const int timer_fd = timer.get();
  std::unique_ptr<Serial> serial(
      new Serial(std::move(name), loop, irq, std::move(backend), std::move(timer)));
  RETURN_IF_ERROR(
      loop->Watch(timer_fd, EPOLLIN, [raw = serial.get()](std::uint32_t) { raw->OnFlushTimer(); }));
  serial->Reset();
  if (serial->backend_) serial->backend_->Connect(serial.get());
  return serial;
}

Serial::Serial(std::string name, EventLoop* loop, Interrupt* irq,
               std::unique_ptr<SerialBackend> backend, UniqueFd timer)
    : name_(std::move(name)),
      loop_(loop),
      irq_(irq),
      timer_(std::move(timer)),
      backend_(std::move(backend)) {}

Serial::~Serial() {
  loop_->Unwatch(timer_.get());
  MutexLock lock(mutex_);
  Flush();
}

void Serial::Read(std::uint64_t offset, std::span<std::byte> data) {
  MutexLock lock(mutex_);
  // An ISA bus splits wide accesses into bytes.
  for (std::byte& byte : data) byte = static_cast<std::byte>(ReadRegister(offset++));
}

void Serial::Write(std::uint64_t offset, std::span<const std::byte> data) {
  MutexLock lock(mutex_);
  for (const std::byte byte : data) WriteRegister(offset++, static_cast<std::uint8_t>(byte));
}

void Serial::Reset() {
  MutexLock lock(mutex_);
  interrupt_enable_ = 0;
  line_control_ = 0;
  modem_control_ = 0;
  scratch_ = 0;
  divisor_ = kDivisor9600;
  fifo_enabled_ = false;
  trigger_ = 1;
  thre_pending_ = false;
  line_high_ = false;
  UpdateModemStatus();
  modem_status_ &= static_cast<std::uint8_t>(~kMsrDeltas);
  ClearReceiver();
  Flush();
}

void Serial::SendBreak() {
  MutexLock lock(mutex_);
  PushReceived(0, kLsrBreak);
  UpdateInterrupt();
}

void Serial::Drain(int timeout_ms) {
  constexpr int kStepMs = 10;
  for (int waited = 0;; waited += kStepMs) {
    {
      MutexLock lock(mutex_);
      Flush();
      if (out_size_ == 0) break;
    }
    if (waited >= timeout_ms) return;
    backend_->WaitForRoom(std::min(kStepMs, timeout_ms - waited));
  }
  if (backend_) backend_->Deliver(timeout_ms);
}

std::size_t Serial::RoomForInput() {
  MutexLock lock(mutex_);
  // In loopback the receiver is disconnected from the line (8.7).
  const std::size_t room = loopback() ? 0 : ReceiverCapacity() - in_size_;
  if (room == 0) starved_ = true;
  return room;
}

void Serial::Receive(std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  for (const std::byte byte : bytes) PushReceived(static_cast<std::uint8_t>(byte), 0);
  UpdateInterrupt();
}

void Serial::OutputReady() {
  MutexLock lock(mutex_);
  const bool had_room = transmitter_has_room();
  stalled_ = false;
  Flush();
  if (!had_room && transmitter_has_room()) thre_pending_ = true;
  UpdateInterrupt();
}

void Serial::OnFlushTimer() {
  std::uint64_t expirations = 0;
  MutexLock lock(mutex_);
  if (read(timer_.get(), &expirations, sizeof expirations) < 0) return;
  timer_armed_ = false;
  if (!stalled_) Flush();
}

std::uint8_t Serial::ReadRegister(std::uint64_t offset) {
  switch (offset) {
    case kData:
      return divisor_latch() ? static_cast<std::uint8_t>(divisor_) : ReadReceiver();
    case kInterruptEnable:
      return divisor_latch() ? static_cast<std::uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptId:
      return ReadInterruptId();
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus:
      return ReadLineStatus();
    case kModemStatus: {
      const std::uint8_t status = modem_status_;
      modem_status_ &= static_cast<std::uint8_t>(~kMsrDeltas);
      UpdateInterrupt();
      return status;
    }
    case kScratch:
      return scratch_;
    default:
      return 0xff;
  }
}

void Serial::WriteRegister(std::uint64_t offset, std::uint8_t value) {
  switch (offset) {
    case kData:
      if (divisor_latch())
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
      else
        Transmit(value);
      break;
    case kInterruptEnable:
      if (divisor_latch())
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | value << 8);
      else
        WriteInterruptEnable(value);
      break;
    case kInterruptId:
      WriteFifoControl(value);
      break;
    case kLineControl:
      line_control_ = value;
      break;
    case kModemControl:
      modem_control_ = value & kMcrMask;
      UpdateModemStatus();
      if (!loopback()) AskForInput();
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:
      break;  // LSR and MSR are read-only here (the data sheet keeps writes to them for factory
              // tests)
  }
  UpdateInterrupt();
}

std::uint8_t Serial::ReadReceiver() {
  if (in_size_ == 0) return 0;
  const std::uint8_t byte = in_[0].byte;
  std::copy(in_.begin() + 1, in_.begin() + static_cast<std::ptrdiff_t>(in_size_), in_.begin());
  --in_size_;
  if (in_size_ > 0) line_errors_ |= in_[0].errors;
  if (in_size_ == 0) AskForInput();
  UpdateInterrupt();
  return byte;
}

std::uint8_t Serial::ReadInterruptId() {
  const std::uint8_t id = PendingInterrupt();
  if (id == kIdThrEmpty) {
    thre_pending_ = false;  // table III: reading IIR is what resets this source
    UpdateInterrupt();
  }
  return id | (fifo_enabled_ ? kIdFifosEnabled : 0);
}

std::uint8_t Serial::ReadLineStatus() {
  std::uint8_t status = line_errors_;
  if (in_size_ > 0) status |= kLsrDataReady;
  if (transmitter_has_room()) status |= kLsrThrEmpty;
  // Gathered output counts as sent: only a backend that does not take it holds it back.
  if (!stalled_) status |= kLsrTransmitterEmpty;
  const auto has_error = [](const Received& received) { return received.errors != 0; };
  if (fifo_enabled_ &&
      std::any_of(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(in_size_), has_error))
    status |= kLsrFifoError;
  line_errors_ = 0;
  UpdateInterrupt();
  return status;
}

void Serial::WriteFifoControl(std::uint8_t value) {
  constexpr std::uint8_t kTriggers[] = {1, 4, 8, 14};
  const bool enable = (value & kFcrEnable) != 0;
  if (enable != fifo_enabled_ || (value & kFcrClearReceiver) != 0) ClearReceiver();
  fifo_enabled_ = enable;
  trigger_ = enable ? kTriggers[value >> 6] : std::uint8_t{1};
}

void Serial::WriteInterruptEnable(std::uint8_t value) {
  const std::uint8_t changed = interrupt_enable_ ^ value;
  interrupt_enable_ = value & kIerMask;
  // Enabling the source while THR is empty raises it at once; Linux tests chips for that.
  if ((changed & kIerThrEmpty) != 0)
    thre_pending_ = (value & kIerThrEmpty) != 0 && transmitter_has_room();
}

void Serial::Transmit(std::uint8_t byte) {
  if (loopback()) {
    PushReceived(byte, 0);
    thre_pending_ = true;
    return;
  }
  // A guest that writes though THR is not empty loses the byte, as on the chip.
  if (out_size_ < out_.size()) out_[out_size_++] = std::byte{byte};
  if (!stalled_) {
    if (byte == '\n' || out_size_ >= kFlushBytes)
      Flush();
    else
      ArmFlushTimer();
  }
  thre_pending_ = transmitter_has_room();
}

void Serial::Flush() {
  if (out_size_ == 0) return;
  const auto pending = std::span<const std::byte>(out_).first(out_size_);
  const std::size_t taken = backend_ ? backend_->Write(pending) : out_size_;
  CHECK(taken <= out_size_);
  std::copy(pending.begin() + static_cast<std::ptrdiff_t>(taken), pending.end(), out_.begin());
  out_size_ -= taken;
  stalled_ = out_size_ > 0;
}

void Serial::ArmFlushTimer() {
  if (timer_armed_) return;
  itimerspec spec{};
  spec.it_value.tv_nsec = kGatherNs;
  CHECK(timerfd_settime(timer_.get(), 0, &spec, nullptr) == 0);
  timer_armed_ = true;
}

void Serial::PushReceived(std::uint8_t byte, std::uint8_t errors) {
  if (in_size_ >= ReceiverCapacity()) {
    line_errors_ |= kLsrOverrun;
    return;
  }
  in_[in_size_++] = {byte, errors};
  if (in_size_ == 1) line_errors_ |= errors;
}

void Serial::ClearReceiver() {
  in_size_ = 0;
  line_errors_ = 0;
  AskForInput();
}

void Serial::AskForInput() {
  if (!starved_ || loopback() || in_size_ >= ReceiverCapacity()) return;
  starved_ = false;
  if (backend_) backend_->WantInput();
}

void Serial::UpdateModemStatus() {
  // The line's other end is always there and ready; in loopback the outputs are the inputs (8.7).
  std::uint8_t lines = kMsrCts | kMsrDsr | kMsrDcd;
  if (loopback()) {
    lines = 0;
    if ((modem_control_ & kMcrRts) != 0) lines |= kMsrCts;
    if ((modem_control_ & kMcrDtr) != 0) lines |= kMsrDsr;
    if ((modem_control_ & kMcrOut1) != 0) lines |= kMsrRing;
    if ((modem_control_ & kMcrOut2) != 0) lines |= kMsrDcd;
  }
  auto deltas = static_cast<std::uint8_t>((modem_status_ ^ lines) >> 4);
  if ((lines & kMsrRing) != 0) deltas &= static_cast<std::uint8_t>(~kMsrDeltaRing);
  modem_status_ = static_cast<std::uint8_t>(lines | (modem_status_ & kMsrDeltas) | deltas);
}

std::uint8_t Serial::PendingInterrupt() const {
  if ((interrupt_enable_ & kIerLineStatus) != 0 && line_errors_ != 0) return kIdLineStatus;
  if ((interrupt_enable_ & kIerReceived) != 0 && in_size_ > 0)
    return in_size_ >= trigger_ ? kIdReceived : kIdTimeout;
  if ((interrupt_enable_ & kIerThrEmpty) != 0 && thre_pending_) return kIdThrEmpty;
  if ((interrupt_enable_ & kIerModemStatus) != 0 && (modem_status_ & kMsrDeltas) != 0)
    return kIdModemStatus;
  return kIdNone;
}

void Serial::UpdateInterrupt() {
  const bool high = PendingInterrupt() != kIdNone;
  if (high && !line_high_) irq_->Trigger();
  line_high_ = high;
}

std::size_t Serial::ReceiverCapacity() const { return fifo_enabled_ ? kFifoBytes : 1; }
bool Serial::loopback() const { return (modem_control_ & kMcrLoop) != 0; }
bool Serial::divisor_latch() const { return (line_control_ & kLcrDivisorLatch) != 0; }

}  // namespace gemel
