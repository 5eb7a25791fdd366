// Opens everything that a VM is built from, for gemel-vmm, which opens nothing itself. What must
// exist is opened first, what is made new last, so that wrong input leaves nothing behind.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "launch/created_file.h"
#include "launch/user_net.h"
#include "vmm/config/machine_config.h"
#include "vmm/control/control_messages.h"

namespace gemel::launch {

struct UserNetProcess {
  std::string device;  // "net0"
  ChildProcess process;
};

struct RunFiles {
  ConfigureRequest request;
  // Our ends of the console, with serial stdio: non-blocking to write to, blocking to read from.
  UniqueFd console_in;
  UniqueFd console_out;
  CreatedFile serial_file;               // to be kept once the machine is built
  UniqueFd serial_overwrite;             // an older serial file, to be emptied then
  CreatedFile serial_socket;             // lives as long as the VM
  std::vector<CreatedFile> net_sockets;  // the same
  std::string pty_path;
  std::vector<UserNetProcess> user_nets;    // one for each net of kind user; live as long as the VM
  std::vector<ChildProcess> iscsi_dialers;  // one for each disk on a target; live as long as the VM
  std::vector<CreatedFile> channel_sockets;  // of console and channels; live as long as the VM
  CreatedFile vsock_socket;                  // the same
  UniqueFd vsock_dialer;                     // our end (cli/vsock_dialer.h)
};

// What the caller has opened itself, instead of by its path. Each may be empty.
struct GivenFiles {
  UniqueFd kernel;
  UniqueFd initrd;
  std::vector<UniqueFd> disks;  // none, or one a config.disks; not locked yet
  std::vector<NetFds> nets;     // none, or one a config.nets
  // Listening sockets. With `vsock` nobody answers the guest's own connections: they are refused.
  UniqueFd vsock;
  std::vector<UniqueFd> channels;  // none, or one a config.channels
};

// Checks `config` against this host and opens what it names and nobody has given. Errors are ready
// for the user: "<argument>: <value>: <what is wrong>". The descriptors of a console hub are its
// maker's to add.
Result<RunFiles> OpenRunFiles(const MachineConfig& config, GivenFiles given = {});

}  // namespace gemel::launch
