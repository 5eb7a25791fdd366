// What lets one VM process issue: its node's session, that session's deadline page, and the epoch
// under which it owns the machine. Whoever starts or resumes the process gives it.
#pragma once
#include "base/unique_fd.h"
#include "cluster/records.h"

namespace gemel::cluster {

struct FenceGrant {
  UniqueFd page;  // cluster/page/page_memory.h: PageWriter::OpenForReader
  SessionId session;
  Epoch epoch;
};

}  // namespace gemel::cluster
