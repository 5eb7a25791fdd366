// What lets one VM process issue: its node's session, that session's deadline page, and the epoch
// under which it owns the machine, with who it is to the targets of its disks in that epoch. Whoever starts
// or resumes the process gives it.
#pragma once
#include <cstdint>
#include <string>

#include "base/unique_fd.h"
#include "cluster/records.h"

namespace gemel::cluster {

struct FenceGrant {
  UniqueFd page;  // cluster/page/page_memory.h: PageWriter::OpenForReader
  SessionId session;
  Epoch epoch;
  // Of disks on iSCSI targets that were claimed for the epoch (block/iscsi/shared_claim.h): how this
  // machine's initiator names begin, and its reservation key. 0: none were.
  std::string initiator = {};
  std::uint64_t key = 0;
};

}  // namespace gemel::cluster
