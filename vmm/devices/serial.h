// A 16550A UART: registers, FIFOs, interrupts, loopback, modem lines.
// National Semiconductor PC16550D data sheet (1995), section 8.
//
// The line is infinitely fast. Output gathers for at most 4 ms or a line or 128 bytes, so that a
// burst of THR writes is one write(2), made by the vCPU thread itself; output that the backend does
// not take stays here (256 bytes) and keeps THR not empty, so a guest waits, a vCPU never does.
// Input is taken from the backend only while the receiver FIFO has room.
//
// The interrupt is a level on a real chip; here each rise of that level is one Trigger. In terms of
// the data sheet: a THR write while THRE is pending raises nothing new, the first after IIR was
// read does.
//
// Not implemented: baud rate, parity and stop bits (stored, without effect), transmitter FIFO reset
// (what was written is on the wire), a delay before the character time-out interrupt (it comes at
// once), break sent by the guest, OUT2 as gate of the interrupt, DMA mode.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_handler.h"
#include "vmm/devices/serial_backend.h"

namespace gemel {

class Serial final : public IoHandler, private SerialPort {
 public:
  static constexpr std::uint64_t kPorts = 8;  // bytes of its range

  // `irq` and `loop` must outlive it. `backend` may be null: nothing is plugged in, output goes
  // nowhere. Call on the loop's thread, before vCPUs run.
  static Result<std::unique_ptr<Serial>> Create(std::string name, EventLoop* loop, Interrupt* irq,
                                                std::unique_ptr<SerialBackend> backend);
  // On the loop's thread, when no vCPU runs any more. Writes what is left if the backend takes it;
  // call Drain before to wait for it.
  ~Serial() override;

  std::string_view name() const override { return name_; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override EXCLUDES(mutex_);
  void Write(std::uint64_t offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

  // Machine reset: registers as after power-on; output already written still goes out.
  void Reset() EXCLUDES(mutex_);
  // A break from the host, which is how SysRq is reached over a serial line. Any thread.
  void SendBreak() EXCLUDES(mutex_);
  // Writes out what the guest wrote, waiting at most so long for the backend, and as long again for
  // whoever reads from one that keeps it. On the loop's thread.
  void Drain(int timeout_ms) EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kFifoBytes = 16;
  static constexpr std::size_t kOutBytes = 256;
  static constexpr std::size_t kFlushBytes = 128;

  // One received character with the line status that belongs to it.
  struct Received {
    std::uint8_t byte;
    std::uint8_t errors;
  };

  Serial(std::string name, EventLoop* loop, Interrupt* irq, std::unique_ptr<SerialBackend> backend,
         UniqueFd timer);

  std::size_t RoomForInput() override EXCLUDES(mutex_);
  void Receive(std::span<const std::byte> bytes) override EXCLUDES(mutex_);
  void OutputReady() override EXCLUDES(mutex_);
  void OnFlushTimer() EXCLUDES(mutex_);

  std::uint8_t ReadRegister(std::uint64_t offset) REQUIRES(mutex_);
  void WriteRegister(std::uint64_t offset, std::uint8_t value) REQUIRES(mutex_);
  std::uint8_t ReadReceiver() REQUIRES(mutex_);
  std::uint8_t ReadInterruptId() REQUIRES(mutex_);
  std::uint8_t ReadLineStatus() REQUIRES(mutex_);
  void WriteFifoControl(std::uint8_t value) REQUIRES(mutex_);
  void WriteInterruptEnable(std::uint8_t value) REQUIRES(mutex_);
  void Transmit(std::uint8_t byte) REQUIRES(mutex_);
  void Flush() REQUIRES(mutex_);
  void ArmFlushTimer() REQUIRES(mutex_);
  void PushReceived(std::uint8_t byte, std::uint8_t errors) REQUIRES(mutex_);
  void ClearReceiver() REQUIRES(mutex_);
  void AskForInput() REQUIRES(mutex_);
  void UpdateModemStatus() REQUIRES(mutex_);
  void UpdateInterrupt() REQUIRES(mutex_);
  std::uint8_t PendingInterrupt() const REQUIRES(mutex_);
  std::size_t ReceiverCapacity() const REQUIRES(mutex_);
  bool loopback() const REQUIRES(mutex_);
  bool divisor_latch() const REQUIRES(mutex_);
  // THR empty: there is room for the FIFO's worth that a guest may write after it saw this once.
  bool transmitter_has_room() const REQUIRES(mutex_) { return out_size_ <= kOutBytes - kFifoBytes; }

  const std::string name_;
  EventLoop* const loop_;  // not owned
  Interrupt* const irq_;   // not owned
  const UniqueFd timer_;   // ends the gathering of output

  Mutex mutex_;
  std::unique_ptr<SerialBackend> backend_;  // the pointer is constant; calls are made under mutex_
  std::uint8_t interrupt_enable_ GUARDED_BY(mutex_) = 0;
  std::uint8_t line_control_ GUARDED_BY(mutex_) = 0;
  std::uint8_t modem_control_ GUARDED_BY(mutex_) = 0;
  std::uint8_t modem_status_ GUARDED_BY(mutex_) = 0;
  std::uint8_t line_errors_ GUARDED_BY(mutex_) = 0;  // OE, and errors of the character read next
  std::uint8_t scratch_ GUARDED_BY(mutex_) = 0;
  std::uint16_t divisor_ GUARDED_BY(mutex_) = 0;
  bool fifo_enabled_ GUARDED_BY(mutex_) = false;
  std::uint8_t trigger_ GUARDED_BY(mutex_) = 1;
  bool thre_pending_ GUARDED_BY(mutex_) = false;
  bool line_high_ GUARDED_BY(mutex_) = false;  // the level that the interrupt pin would have

  std::array<Received, kFifoBytes> in_ GUARDED_BY(mutex_){};
  std::size_t in_size_ GUARDED_BY(mutex_) = 0;
  bool starved_ GUARDED_BY(mutex_) = false;  // the backend waits for WantInput

  std::array<std::byte, kOutBytes> out_ GUARDED_BY(mutex_){};
  std::size_t out_size_ GUARDED_BY(mutex_) = 0;
  bool stalled_ GUARDED_BY(mutex_) =
      false;  // the backend took less than all; OutputReady will come
  bool timer_armed_ GUARDED_BY(mutex_) = false;
};

}  // namespace gemel
