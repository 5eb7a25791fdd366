#include "launch/run_files.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/file_util.h"
#include "block/device_discard.h"
#include "block/lock.h"
#include "launch/hint.h"
#include "launch/iscsi_dialer.h"
#include "launch/run_networks.h"
#include "launch/unix_socket.h"
#include "vmm/config/host_limits.h"

namespace gemel::launch {
namespace {

std::unexpected<Error> Problem(std::string_view argument, const std::string& path, int error) {
  return ErrnoError(error, fmt::format("{}: {}", argument, path));
}
std::unexpected<Error> Problem(std::string_view argument, const std::string& path,
                               std::string_view reason) {
  return InvalidArgument("{}: {}: {}", argument, path, reason);
}

enum class Images : std::uint8_t { kFiles, kFilesAndDevices };

// Looks before anything is opened: to open a FIFO or a tape can wait or do something.
Status CheckImage(std::string_view argument, const std::string& path, Images images) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return Problem(argument, path, errno);
  if (S_ISDIR(info.st_mode)) return Problem(argument, path, "a directory");
  const bool devices_too = images == Images::kFilesAndDevices;
  if (devices_too && S_ISBLK(info.st_mode)) return {};
  if (!S_ISREG(info.st_mode))
    return Problem(
        argument, path,
        devices_too ? "neither a regular file nor a block device" : "not a regular file");
  if (info.st_size == 0) return Problem(argument, path, "empty");
  return {};
}

Result<UniqueFd> OpenBootFile(std::string_view argument, const std::string& path) {
  if (path.empty()) return UniqueFd();
  RETURN_IF_ERROR(CheckImage(argument, path, Images::kFiles));
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return Problem(argument, path, errno);
  return fd;
}

std::unexpected<Error> DiskProblem(const DiskConfig& disk, int error) {
  Error problem = Problem("disk", disk.path, error).error();
  if (disk.direct && error == EINVAL)
    return InvalidArgument("disk: {}: direct=on: this file system has no O_DIRECT", disk.path);
  if (!disk.readonly && (error == EACCES || error == EROFS) && access(disk.path.c_str(), R_OK) == 0)
    problem = WithHint(std::move(problem),
                       fmt::format("it can be read: --disk path={},readonly=on", disk.path));
  return std::unexpected(std::move(problem));
}

Result<UniqueFd> OpenDisk(const DiskConfig& disk) {
  RETURN_IF_ERROR(CheckImage("disk", disk.path, Images::kFilesAndDevices));
  const int flags = (disk.readonly ? O_RDONLY : O_RDWR) | (disk.direct ? O_DIRECT : 0);
  UniqueFd fd(open(disk.path.c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (!fd) return DiskProblem(disk, errno);
  return fd;
}

// ---- iSCSI --------------------------------------------------------------------------------------

constexpr std::string_view kInitiator = "iqn.2008-11.org.linux-kvm";  // QEMU's

// Nobody else may be the same nexus: a target ends the session that was there before.
Status SettleNexus(const std::string& name, IscsiConfig& iscsi) {
  if (iscsi.initiator.empty()) iscsi.initiator = fmt::format("{}:{}", kInitiator, name);
  if (iscsi.isid != 0) return {};
  std::uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    return ErrnoError(errno, "disk: iscsi: getrandom");
  iscsi.isid = (random & 0xffffff) | 1;
  iscsi.qualifier = static_cast<std::uint16_t>(random >> 24);
  return {};
}

Status OpenIscsiDisk(DiskConfig& disk, RunFiles& files) {
  IscsiConfig& iscsi = *disk.iscsi;
  RETURN_IF_ERROR(FillSecret(iscsi));
  RETURN_IF_ERROR(SettleNexus(files.request.config.name, iscsi));
  RETURN_IF_ERROR(ValidateIscsi(iscsi));
  ASSIGN_OR_RETURN(IscsiDialer dialer, StartIscsiDialer(iscsi.host, iscsi.port));
  files.iscsi_dialers.push_back(std::move(dialer.process));
  files.request.disks.push_back(std::move(dialer.vm_end));
  return {};
}

Status OpenDisks(std::vector<UniqueFd> given, RunFiles& files) {
  given.resize(files.request.config.disks.size());
  for (std::size_t i = 0; i < given.size(); ++i) {
    DiskConfig& disk = files.request.config.disks[i];
    if (disk.iscsi) {
      RETURN_IF_ERROR(OpenIscsiDisk(disk, files));
      continue;
    }
    UniqueFd fd = std::move(given[i]);
    if (!fd) {
      ASSIGN_OR_RETURN(fd, OpenDisk(disk));
    }
    auto lock = block::TakeImageLock(fd.get(), disk.readonly);
    if (!lock) return WithContext(lock.error(), "disk: " + disk.path);
    disk.device_discard = block::DeviceDiscard(fd.get());
    files.request.disks.push_back(std::move(fd));
    files.request.locks.push_back(*std::move(lock));
  }
  return {};
}

Result<UniqueFd> OpenKvm() {
  UniqueFd fd(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (fd) return fd;
  const int error = errno;
  const std::string_view hint =
      error == EACCES || error == EPERM
          ? "join the group that may: usermod -aG kvm $USER, and log in again (gemel host check)"
          : "gemel host check says what this host can do";
  return std::unexpected(WithHint(Problem("kvm", "/dev/kvm", error).error(), hint));
}

// ---- serial -------------------------------------------------------------------------------------

Result<UniqueFd> Duplicate(const UniqueFd& fd) {
  UniqueFd copy(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return ErrnoError(errno, "serial: dup");
  return copy;
}

// The pipes to the terminal, for serial port or console: `in` and `out` are the VM's.
Status OpenTerminal(RunFiles& files, UniqueFd& in, UniqueFd& out) {
  int to_vmm[2];
  int from_vmm[2];
  if (pipe2(to_vmm, O_CLOEXEC) != 0) return ErrnoError(errno, "serial: pipe");
  in.Reset(to_vmm[0]);
  files.console_in.Reset(to_vmm[1]);
  if (pipe2(from_vmm, O_CLOEXEC) != 0) return ErrnoError(errno, "serial: pipe");
  files.console_out.Reset(from_vmm[0]);
  out.Reset(from_vmm[1]);
  if (fcntl(files.console_in.get(), F_SETFL, O_NONBLOCK) != 0)
    return ErrnoError(errno, "serial: F_SETFL");
  return {};
}

Status OpenPty(RunFiles& files) {
  UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  char path[64];
  if (!master || grantpt(master.get()) != 0 || unlockpt(master.get()) != 0 ||
      ptsname_r(master.get(), path, sizeof path) != 0)
    return ErrnoError(errno, "serial: pty");
  // Raw from the start: an echoing pty would type the guest's output back at it.
  termios raw{};
  if (tcgetattr(master.get(), &raw) == 0) {
    cfmakeraw(&raw);
    tcsetattr(master.get(), TCSANOW, &raw);
  }
  files.pty_path = path;
  ASSIGN_OR_RETURN(files.request.serial_in, Duplicate(master));
  files.request.serial_out = std::move(master);
  return {};
}

// An older file is emptied only when the machine has been built. A FIFO or a device (/dev/ttyS0) is
// as good as a file, and is not waited for.
Status OpenSerialFile(const std::string& path, RunFiles& files) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  UniqueFd fd(open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0666));
  if (fd) {
    files.serial_file = CreatedFile(path);
  } else if (errno == EEXIST) {
    fd.Reset(open(path.c_str(), kFlags));
    struct stat info{};
    if (fd && fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode)) {
      ASSIGN_OR_RETURN(files.serial_overwrite, Duplicate(fd));
    }
  }
  if (!fd) {
    Error problem = Problem("serial", "file:" + path, errno).error();
    if (errno == ENXIO) problem = WithHint(std::move(problem), "nobody reads that FIFO yet");
    return std::unexpected(std::move(problem));
  }
  files.request.serial_out = std::move(fd);
  return {};
}

Status OpenSerialSocket(const std::string& path, RunFiles& files) {
  ASSIGN_OR_RETURN(ListeningSocket listening, ListenUnix("serial", path, "unix:" + path, 1));
  files.serial_socket = std::move(listening.file);
  files.request.serial_in = std::move(listening.fd);
  return {};
}

Status OpenSerial(const SerialConfig& serial, RunFiles& files) {
  switch (serial.kind) {
    case SerialConfig::Kind::kStdio:
      return OpenTerminal(files, files.request.serial_in, files.request.serial_out);
    case SerialConfig::Kind::kPty:
      return OpenPty(files);
    case SerialConfig::Kind::kFile:
      return OpenSerialFile(serial.path, files);
    case SerialConfig::Kind::kUnix:
      return OpenSerialSocket(serial.path, files);
    case SerialConfig::Kind::kNone:
    case SerialConfig::Kind::kHub:
      return {};
  }
  return {};
}

// ---- networks -----------------------------------------------------------------------------------

Status OpenNet(std::size_t index, NetFds given, RunFiles& files) {
  MachineConfig& config = files.request.config;
  NetFds fds = std::move(given);
  if (!fds.queues.empty()) {
    SettleAddress(config, index);
  } else if (config.nets[index].kind == NetConfig::Kind::kUser) {
    ASSIGN_OR_RETURN(UserNet user, StartUserNet(config.name, config.nets[index]));
    fds.queues.push_back(std::move(user.vm_end));
    files.user_nets.push_back({fmt::format("net{}", index), std::move(user.process)});
    SettleAddress(config, index);
  } else {
    ASSIGN_OR_RETURN(HostNetwork opened, OpenHostNetwork(config, index));
    fds = std::move(opened.fds);
    if (!opened.new_socket.empty()) files.net_sockets.emplace_back(std::move(opened.new_socket));
  }
  RETURN_IF_ERROR(OpenVhost(config.nets[index], fds));
  files.request.nets.push_back(std::move(fds));
  return {};
}

// ---- console ------------------------------------------------------------------------------------

Status OpenConsole(const MachineConfig& config, std::vector<UniqueFd> given, RunFiles& files) {
  const ConsoleConfig& console = config.console;
  if (console.kind == ConsoleConfig::Kind::kStdio)
    RETURN_IF_ERROR(OpenTerminal(files, files.request.console_in, files.request.console_out));
  if (console.kind == ConsoleConfig::Kind::kUnix) {
    ASSIGN_OR_RETURN(ListeningSocket listening,
                     ListenUnix("console", console.path, "unix:" + console.path, 1));
    files.channel_sockets.push_back(std::move(listening.file));
    files.request.console_in = std::move(listening.fd);
  }
  files.request.channels = std::move(given);
  if (!files.request.channels.empty()) return {};
  for (const ChannelConfig& channel : config.channels) {
    ASSIGN_OR_RETURN(ListeningSocket listening,
                     ListenUnix("channel", channel.path, "path=" + channel.path, 1));
    files.channel_sockets.push_back(std::move(listening.file));
    files.request.channels.push_back(std::move(listening.fd));
  }
  return {};
}

// ---- vsock --------------------------------------------------------------------------------------

Status OpenVsock(const VsockConfig& vsock, UniqueFd given, RunFiles& files) {
  constexpr int kBacklog = 128;
  const bool answered = !given;
  files.request.vsock_listener = std::move(given);
  if (!files.request.vsock_listener) {
    ASSIGN_OR_RETURN(ListeningSocket listening,
                     ListenUnix("vsock", vsock.path, "path=" + vsock.path, kBacklog));
    files.vsock_socket = std::move(listening.file);
    files.request.vsock_listener = std::move(listening.fd);
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "vsock: socketpair");
  files.vsock_dialer.Reset(ends[0]);
  if (!answered) files.vsock_dialer.Reset();
  files.request.vsock_dialer.Reset(ends[1]);
  return {};
}

}  // namespace

Result<RunFiles> OpenRunFiles(const MachineConfig& config, GivenFiles given) {
  ASSIGN_OR_RETURN(const HostLimits limits, ReadHostMemory());
  RETURN_IF_ERROR(CheckHostLimits(config, limits));
  RunFiles files;
  files.request.config = config;
  files.request.kernel = std::move(given.kernel);
  files.request.initrd = std::move(given.initrd);
  if (!files.request.kernel) {
    ASSIGN_OR_RETURN(files.request.kernel, OpenBootFile("kernel", config.boot.kernel));
  }
  if (!files.request.initrd) {
    ASSIGN_OR_RETURN(files.request.initrd, OpenBootFile("initrd", config.boot.initrd));
  }
  RETURN_IF_ERROR(OpenDisks(std::move(given.disks), files));
  ASSIGN_OR_RETURN(files.request.kvm, OpenKvm());
  RETURN_IF_ERROR(OpenSerial(config.serial, files));
  RETURN_IF_ERROR(OpenConsole(config, std::move(given.channels), files));
  if (config.vsock) RETURN_IF_ERROR(OpenVsock(*config.vsock, std::move(given.vsock), files));
  given.nets.resize(config.nets.size());
  for (std::size_t i = 0; i < config.nets.size(); ++i)
    RETURN_IF_ERROR(OpenNet(i, std::move(given.nets[i]), files));
  return files;
}

}  // namespace gemel::launch
