// The folder of one VM below the daemon's run folder: how a VM is found again, and how it ended.
//
//   control.sock   gemel-vmm listens: vmm/process/controller_seat.h
//   console.sock   gemel-vmm listens: vmm/devices/console_hub.h
//   console        the console's last output, once it has ended
//   exit           gemel-jail writes how it ended: jail/exit_record.h
//   log            gemel-vmm's stderr
//   vsock.sock     gemel-vmm listens for who wants a port of the guest's, as of gemel run --vsock
//   channel-NAME   gemel-vmm listens for the one program at the other end of a channel
//
// Everything is root's (0700), and nothing in it is opened by the VM itself. Any thread; no state.
#pragma once
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "grpc/vm_exit.h"
#include "launch/vmm_process.h"

namespace gemel::daemon {

class VmFolder {
 public:
  explicit VmFolder(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  // kAlreadyExists if there is one.
  Status Create() const;
  bool Exists() const;
  // With all that is in it; what is gone already is no error.
  Status Remove() const;

  // A new listening socket, SOCK_SEQPACKET or SOCK_STREAM.
  Result<UniqueFd> Listen(const char* name, int type) const;
  // A connection to it, non-blocking; kUnavailable if nobody listens.
  Result<UniqueFd> Connect(const char* name, int type) const;
  // A new file to be written to.
  Result<UniqueFd> CreateFile(const char* name) const;
  // The same, open to be read.
  Result<UniqueFd> OpenFile(const char* name) const;

  // How it ended; none while the jail has not written all of it.
  std::optional<VmExit> ReadExit() const;

 private:
  std::string path_;
};

inline constexpr char kControlSocket[] = "control.sock";
inline constexpr char kConsoleSocket[] = "console.sock";
inline constexpr char kConsoleFile[] = "console";
inline constexpr char kExitFile[] = "exit";
inline constexpr char kLogFile[] = "log";
inline constexpr char kVsockSocket[] = "vsock.sock";
inline constexpr char kChannelPrefix[] = "channel-";

// What an exit record means. `text` is the jail's, but quotes the VM: not to be trusted.
VmExit ToVmExit(std::string_view text);

}  // namespace gemel::daemon
