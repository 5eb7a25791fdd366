// Raw disks: a file or block device whose bytes are the disk's.
//
// Discard punches holes (fallocate). On a block device that works where the device can zero a range
// by unmapping it; on others it does nothing, which a discard may (virtio 1.2, 5.2.6.2). tmpfs has
// no reads that do not block, so io_uring hands each to a kernel thread there: engine kSync is
// cheaper.
#pragma once
#include <cstdint>
#include <memory>

#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "block/backend.h"

namespace gemel::block {

enum class Engine : std::uint8_t {
  kAuto,  // io_uring where the host allows it, else synchronous; BlockBackend::engine() says which
  kIoUring,  // or an error
  kSync,
};

struct RawOptions {
  // Open for reading, and writing unless read_only; TakeImageLock is the opener's to call.
  UniqueFd fd;
  bool read_only = false;
  bool direct = false;  // O_DIRECT; logical_block_size may then be more than 512
  Engine engine = Engine::kAuto;
  std::uint32_t depth = 128;         // requests in flight
  std::uint32_t device_discard = 0;  // of a block device: its DeviceDiscard()
  Permit* permit = nullptr;          // outlives the backend; BlockBackend::Submit says what it does
};

// kInvalidArgument, naming the value, for what ProbeRawFile refuses.
Result<std::unique_ptr<BlockBackend>> OpenRaw(RawOptions options);

}  // namespace gemel::block
