// What connects a disk to its iSCSI target: a gemel-dial of its own, and the VM's end of the socket to it.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "launch/child_process.h"
#include "vmm/config/iscsi_config.h"

namespace gemel::launch {

struct IscsiDialer {
  ChildProcess process;  // ends by itself once nobody has the VM's end any more
  UniqueFd vm_end;       // block/iscsi/dial.h
};

// Connects to nothing yet.
Result<IscsiDialer> StartIscsiDialer(const std::string& host, std::uint16_t port);

// Reads the password, if it is in a file: its first line.
Status FillSecret(IscsiConfig& iscsi);

}  // namespace gemel::launch
