// Page-aligned buffers for O_DIRECT data whose own memory is not aligned enough.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "base/check.h"
#include "block/transfer.h"

namespace gemel::block {

inline constexpr std::size_t kBounceBytes = 256 << 10;

class BounceBuffer {
 public:
  // The buffer, which is reserved at the first call: most disks never need one.
  std::span<std::byte> Get() {
    if (!memory_) memory_.reset(std::aligned_alloc(kBounceAlignment, kBounceBytes));
    CHECK(memory_ != nullptr);
    return {static_cast<std::byte*>(memory_.get()), kBounceBytes};
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
};

}  // namespace gemel::block
