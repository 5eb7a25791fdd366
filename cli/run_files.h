// Opens everything that a VM is built from, for gemel-vmm, which opens nothing itself. What must
// exist is opened first, what is made new last, so that wrong input leaves nothing behind.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/user_net.h"
#include "vmm/config/machine_config.h"
#include "vmm/control/control_messages.h"

namespace gemel::cli {

// A file that we have made; removed when destroyed unless kept.
class CreatedFile {
 public:
  CreatedFile() = default;
  explicit CreatedFile(std::string path) : path_(std::move(path)) {}
  CreatedFile(CreatedFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  CreatedFile& operator=(CreatedFile&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~CreatedFile();
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

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
  std::vector<UserNetProcess> user_nets;  // one for each net of kind user; live as long as the VM
};

// Checks `config` against this host and opens what it names. Errors are ready for the user:
// "<argument>: <value>: <what is wrong>".
Result<RunFiles> OpenRunFiles(const MachineConfig& config);

}  // namespace gemel::cli
