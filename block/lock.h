// Keeps two processes of one host off the same disk.
#pragma once
#include <chrono>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::block {

// Locks the image that `fd` has open, by an open file description of its own, which is returned.
// `fd` itself is none for it: the kernel keeps a file that an io_uring has registered for tens
// of milliseconds, on a busy machine for seconds, after its process is gone. As LockImage otherwise.
Result<UniqueFd> TakeImageLock(int fd, bool read_only);

// Locks the whole of an open image, shared if `read_only`, else exclusively (F_OFD_SETLK; `fd` must
// be open for writing then). The lock belongs to the open file description: it goes with the
// descriptor when that is passed to another process, and falls when the last copy is closed. It
// does not reach other hosts. QEMU's image locks and these exclude each other where either side
// writes first. kFailedPrecondition "in use by another process (a VM?)" if it is taken. The caller
// adds the path.
Status LockImage(int fd, bool read_only,
                 std::chrono::milliseconds patience = std::chrono::seconds(3));

}  // namespace gemel::block
