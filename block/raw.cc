#include "block/raw.h"

#include <utility>

#include "base/log.h"
#include "block/raw_file.h"
#include "block/sync_engine.h"
#include "block/uring_engine.h"

namespace gemel::block {

Result<std::unique_ptr<BlockBackend>> OpenRaw(RawOptions options) {
  ASSIGN_OR_RETURN(RawFile file, ProbeRawFile(std::move(options.fd), options.read_only,
                                              options.direct, options.device_discard));
  if (options.engine != Engine::kSync) {
    auto backend = CreateUringEngine(std::move(file), options.depth, options.permit);
    if (backend || options.engine == Engine::kIoUring) return backend;
    LOG_UNLIMITED(kInfo, "block", "synchronous I/O: {}", backend.error().message);
  }
  // NOLINTNEXTLINE(bugprone-use-after-move): an engine that could not be made has left it alone
  return CreateSyncEngine(std::move(file), options.depth, options.permit);
}

}  // namespace gemel::block
