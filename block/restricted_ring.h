// An io_uring that is confined before it is enabled: one file, a few opcodes, no registrations.
#pragma once
#include <liburing.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace gemel::block {

class RestrictedRing {
 public:
  // `fd` becomes fixed file 0 and `event_fd` is signalled at each completion. Every entry must
  // carry IOSQE_FIXED_FILE, may carry IOSQE_ASYNC and nothing else, and one of `opcodes`; others
  // complete with -EACCES. `fd` and `event_fd` stay the caller's.
  static Result<std::unique_ptr<RestrictedRing>> Create(std::uint32_t entries, int fd, int event_fd,
                                                        std::span<const std::uint8_t> opcodes);
  ~RestrictedRing();
  RestrictedRing(const RestrictedRing&) = delete;
  RestrictedRing& operator=(const RestrictedRing&) = delete;

  io_uring* get() { return &ring_; }

 private:
  RestrictedRing() = default;
  Status Confine(int fd, int event_fd, std::span<const std::uint8_t> opcodes);

  io_uring ring_{};
  bool created_ = false;
};

}  // namespace gemel::block
