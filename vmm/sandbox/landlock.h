// Landlock: this process and its threads-to-be open no file by name any more, and, where the kernel
// is new enough, bind and connect no TCP port, reach no abstract Unix socket and signal nobody
// outside.
#pragma once
#include "vmm/config/sandbox_mode.h"

namespace gemel::sandbox {

// Descriptors that were opened before keep all their rights. REQUIRES: no_new_privs, one thread.
SandboxLayer EnterLandlock();

}  // namespace gemel::sandbox
