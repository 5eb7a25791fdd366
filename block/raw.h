// Raw disks: a file or block device whose bytes are the disk's.
#pragma once
#include <cstdint>
#include <memory>

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
  UniqueFd fd;  // open for reading, and writing unless read_only; LockImage is the opener's to call
  bool read_only = false;
  bool direct = false;  // O_DIRECT; logical_block_size may then be more than 512
  Engine engine = Engine::kAuto;
  std::uint32_t depth = 128;  // requests in flight
};

// kInvalidArgument, naming the value, for what ProbeRawFile refuses.
Result<std::unique_ptr<BlockBackend>> OpenRaw(RawOptions options);

}  // namespace gemel::block
