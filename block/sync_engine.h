// The engine for hosts where io_uring is forbidden or missing: plain system calls, made in Submit.
//
// Requests are done one after another on the worker's thread, so the guest's queue depth buys
// nothing; they are never done by another thread. completion_fd is never signalled: everything
// completes in Submit and waits for Reap.
#pragma once
#include <memory>

#include "base/permit.h"
#include "base/result.h"
#include "block/backend.h"
#include "block/raw_file.h"

namespace gemel::block {

// `depth`: how many requests may be queued or wait to be reaped. A request that the permit interrupts
// is done again from its beginning.
Result<std::unique_ptr<BlockBackend>> CreateSyncEngine(RawFile file, std::uint32_t depth,
                                                       Permit* permit = nullptr);

}  // namespace gemel::block
