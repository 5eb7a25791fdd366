// What a controller and a gemel-vmm say to one another, as plain structs, and their way to and from
// ControlMessages (proto/internal/control.proto). Nobody else includes the generated code.
//
// The order of a conversation. The VMM says Hello. The controller sends requests; each gets exactly
// one ControlReply with its id, in order. Configure comes first and once; Start begins to run what
// it built. The VMM sends events as they happen; after PoweredOff, RebootRequested or Crashed its
// process ends (status 0, 0, 1). If the controller's end closes, the VM is powered off hard and the
// VMM ends; one that listens for controllers (--listen-fd) goes on once it is configured, says Hello
// to the next, and serves the newest: an older one is closed.
//
// Decode… check everything: the peer may be hostile on either side. Any thread; no state.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/page/fence_grant.h"
#include "vmm/config/machine_config.h"
#include "vmm/config/net_fds.h"
#include "vmm/config/sandbox_mode.h"
#include "vmm/control/control_channel.h"

namespace gemel {

inline constexpr std::uint32_t kControlVersion = 1;

// ---- requests -----------------------------------------------------------------------------------

// The machine and everything that it is built from. gemel-vmm opens nothing itself.
struct ConfigureRequest {
  MachineConfig config;         // its paths are for messages alone
  UniqueFd kvm;                 // /dev/kvm
  UniqueFd kernel;              // readable, seekable
  UniqueFd initrd;              // owned exactly if config.boot.initrd is not empty
  std::vector<UniqueFd> disks;  // one a config.disks, opened (O_RDWR, O_DIRECT …) as it says
  std::vector<UniqueFd> locks;  // what keeps them locked (block/lock.h), at most one a disk
  std::vector<NetFds> nets;     // one a config.nets
  // Both owned exactly with a config.vsock: a listening SOCK_STREAM socket; one end of a
  // SOCK_SEQPACKET pair whose other end connects for us (virtio/vsock/dial.h).
  UniqueFd vsock_listener;
  UniqueFd vsock_dialer;
  // By config.console.kind. kStdio: two pipe ends. kUnix: in alone, a listening SOCK_STREAM socket.
  UniqueFd console_in;
  UniqueFd console_out;
  std::vector<UniqueFd> channels;  // one a config.channels: listening SOCK_STREAM sockets
  // By config.serial.kind. kStdio: what the guest reads from and writes to (pipes, or one socket
  // twice). kPty: the master, twice. kFile: out alone. kUnix: in alone, a listening SOCK_STREAM
  // socket. kNone: neither. kHub: in, a listening SOCK_STREAM socket; out, a file or none. Either
  // may be non-blocking.
  UniqueFd serial_in;
  UniqueFd serial_out;
  std::optional<cluster::FenceGrant> fence;  // of a VM of a cluster
  LogLevel log_level = LogLevel::kInfo;      // the least that is logged, to descriptor 2
};
struct StartRequest {};  // begins or goes on with running; kFailedPrecondition before Configure
struct PowerButtonRequest {};  // presses ACPI's power button; what follows is the guest's affair
struct SleepButtonRequest {};  // ACPI's sleep button; kUnimplemented where there is none
struct PowerOffRequest {};     // off, now: PoweredOff follows and the process ends
struct PauseRequest {};        // replied to when no vCPU runs
struct ResumeRequest {};
struct ResetRequest {};  // as the reset button: replied to when done; ResetDone follows
struct SetLinkRequest {
  std::string device;  // "net0"
  bool up = true;      // the cable is plugged in, or pulled
};
struct GetInfoRequest {};  // the reply carries a VmInfo
// A latched machine goes on, as Machine::ResumeUnder says.
struct ResumeUnderRequest {
  cluster::FenceGrant fence;
};
struct SetBalloonRequest {
  std::uint64_t size = 0;  // bytes that the guest is to give up; it may not, or not at once
};
// What the receiver cannot carry out: to be replied to with `error` as it stands (kUnimplemented
// for a request that this version does not know, kInvalidArgument for a bad one).
struct RejectedRequest {
  Error error;
};

using ControlRequestBody =
    std::variant<ConfigureRequest, StartRequest, PowerButtonRequest, PowerOffRequest, PauseRequest,
                 ResumeRequest, ResetRequest, GetInfoRequest, SetLinkRequest, SetBalloonRequest,
                 SleepButtonRequest, ResumeUnderRequest, RejectedRequest>;

struct ControlRequest {
  std::uint64_t id = 0;
  ControlRequestBody body;
};

// ---- replies and events -------------------------------------------------------------------------

enum class VmState : std::uint8_t { kCreated, kConfigured, kRunning, kPaused, kStopped };

struct DeviceInfo {
  std::string name;  // "blk0"
  std::string kind;  // "virtio-blk"
  std::uint64_t address = 0;
  std::uint32_t irq = 0;
  std::uint32_t queues = 0;
  std::uint32_t queue_size = 0;
  std::string engine;  // what serves it: "io_uring", "sync"; empty: nothing to choose
  std::string note;    // why it is not what was asked for; empty: it is
  std::vector<std::pair<std::string, std::uint64_t>> counters = {};  // what it has done
  std::string place = "";  // "00:01.0" on the PCI bus; empty: at `address` with line `irq`
  bool operator==(const DeviceInfo&) const = default;
};

struct BalloonInfo {
  std::uint64_t target = 0;                           // bytes that the guest is asked to give up
  std::uint64_t actual = 0;                           // bytes that it says it has given up
  std::uint64_t reported = 0;                         // bytes that it reported as free, ever
  std::int64_t statistics_age_ms = -1;                // -1: it has told none
  std::map<std::uint32_t, std::uint64_t> statistics;  // by tag: virtio 1.2, 5.5.6.4
  bool operator==(const BalloonInfo&) const = default;
};

struct VcpuInfo {
  std::uint64_t cpu_ns = 0;  // of its thread, in the guest and outside
  std::vector<std::pair<std::string, std::uint64_t>> exits;  // to user space, by reason
  bool operator==(const VcpuInfo&) const = default;
};

// How a VM with a fence stands.
struct FenceState {
  cluster::SessionId session;
  cluster::Epoch epoch;
  // Proved: no vCPU is in the guest, and no thread submits anything more until ResumeUnder.
  bool latched = false;
  bool conflicted = false;      // storage refused it: it never goes on
  std::uint64_t in_flight = 0;  // latched: what was submitted before and has not been answered
  bool operator==(const FenceState&) const = default;
};

struct VmInfo {
  VmState state = VmState::kCreated;
  std::uint32_t cpus = 0;
  std::uint64_t memory = 0;
  std::vector<DeviceInfo> devices;
  std::vector<std::string> notes;
  SandboxMode sandbox_mode = SandboxMode::kOff;
  std::vector<SandboxLayer> sandbox;
  std::optional<BalloonInfo> balloon;  // asking makes the guest tell newer statistics
  std::uint64_t resets = 0;            // since the machine was built
  std::vector<VcpuInfo> vcpus;
  std::optional<FenceState> fence;
  bool operator==(const VmInfo&) const = default;
};

struct ControlReply {
  std::uint64_t id = 0;
  Error error{Code::kOk, ""};  // kOk: done
  std::optional<VmInfo> info;  // of GetInfoRequest and ConfigureRequest
};

struct HelloEvent {
  std::uint32_t version = kControlVersion;
  std::string build;
  std::uint32_t pid = 0;
};
struct RunningEvent {};
struct PoweredOffEvent {};       // by the guest or by PowerOffRequest
struct RebootRequestedEvent {};  // the guest reboots and on_reboot is kExit
struct ResetDoneEvent {};        // the machine was reset and runs again
struct CrashedEvent {
  enum class Kind : std::uint8_t { kMachine, kPanic, kTripleFault };
  std::string reason;          // one line
  std::string report;          // registers, code bytes: lines
  Kind kind = Kind::kMachine;  // kPanic: the guest's kernel said so itself
};
struct SerialInfoEvent {
  std::string path;  // of the pty or socket
};
// The host could not read or write a disk; the guest was told so. At most every 10 s a disk.
struct DiskErrorEvent {
  std::string device;       // "blk0"
  std::string reason;       // one line: "write of 4096 bytes at 8192: No space left on device"
  std::uint64_t count = 0;  // such errors since the last event
};
// The VM has latched; again when nothing is in flight any more, and when storage refuses it.
struct LatchedEvent {
  FenceState fence;
};
struct UnknownEvent {};  // of a newer VMM: to be ignored

using ControlEvent =
    std::variant<HelloEvent, RunningEvent, PoweredOffEvent, RebootRequestedEvent, ResetDoneEvent,
                 CrashedEvent, SerialInfoEvent, DiskErrorEvent, LatchedEvent, UnknownEvent>;

using FromVmm = std::variant<ControlReply, ControlEvent>;

// ---- conversion ---------------------------------------------------------------------------------

// Takes the request's descriptors over into the message.
ControlMessage EncodeRequest(ControlRequest request);
ControlMessage EncodeReply(const ControlReply& reply);
ControlMessage EncodeEvent(const ControlEvent& event);

// A bad or unknown request decodes to a RejectedRequest; bytes that are no request at all are an
// error. The MachineConfig of a ConfigureRequest has passed Validate, and the descriptors are there
// as ConfigureRequest says. Descriptors that no request asked for make it a bad one.
Result<ControlRequest> DecodeRequest(ControlMessage message);
Result<FromVmm> DecodeFromVmm(ControlMessage message);

}  // namespace gemel
