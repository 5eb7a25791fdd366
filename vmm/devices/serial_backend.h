// What a serial port is plugged into, and the port as its plug sees it.
//
// A backend lives on the main loop's thread; only Write and WantInput come from vCPU threads. Flow
// control goes both ways and neither side ever waits: a backend that takes less than it was given
// says so later by OutputReady; a port without room is not given input until it says WantInput.
#pragma once
#include <cstddef>
#include <span>

namespace gemel {

// The chip's side. All are called on the main loop's thread; none may be called from within Write
// or WantInput, whose caller holds the chip's lock.
class SerialPort {
 public:
  virtual ~SerialPort() = default;
  // How many bytes Receive takes now. After an answer of 0, WantInput is called when there is room.
  virtual std::size_t RoomForInput() = 0;
  virtual void Receive(std::span<const std::byte> bytes) = 0;
  // Output that Write did not take may be offered again.
  virtual void OutputReady() = 0;
};

class SerialBackend {
 public:
  virtual ~SerialBackend() = default;
  // Called once, before anything else. The port outlives the backend.
  virtual void Connect(SerialPort* port) = 0;
  // Takes as much of `bytes` as it can without blocking and returns how much; if that is not all,
  // OutputReady follows. What can never be delivered counts as taken. Any thread, one at a time.
  virtual std::size_t Write(std::span<const std::byte> bytes) = 0;
  // The port has room again. Any thread; does not block.
  virtual void WantInput() = 0;
  // Waits until Write would take something or the time is over. For the machine's last words only.
  virtual void WaitForRoom(int timeout_ms) = 0;
  // Passes on what Write took and keeps, waiting at most so long for whoever reads it. For the
  // machine's last words, on the loop's thread.
  virtual void Deliver(int /*timeout_ms*/) {}
};

}  // namespace gemel
