// The device side of a trapped range of ports or memory.
//
// A handler never knows where its range lies: it sees offsets from the range's start.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gemel {

class IoHandler {
 public:
  virtual ~IoHandler() = default;
  // For messages; constant for the handler's life.
  virtual std::string_view name() const = 0;
  // Both are called on vCPU threads, several at once, with 1 to 8 bytes (1, 2 or 4 for ports) that
  // lie inside the range. They must not block on I/O. Read fills all of `data`. An access of a
  // width or at an offset that the chip does not have is the handler's to answer: reads as the chip
  // would (mostly all ones or zeros), writes without effect.
  virtual void Read(std::uint64_t offset, std::span<std::byte> data) = 0;
  virtual void Write(std::uint64_t offset, std::span<const std::byte> data) = 0;
};

}  // namespace gemel
