// The processes of this node's VMs: starts them, finds them again after a restart of the daemon,
// tells what happens to them, ends them. It knows processes, sockets and cgroups, and neither gRPC
// nor the store: what should run is its caller's to know (vm_manager).
//
// Everything is called, and every callback comes, on the thread of the one EventLoop that the
// supervisor was made with. Nothing here waits for a guest, a disk or a process: what takes time has
// a `done`, which is called exactly once, later, never from within the call that it was given to.
// Destroying the supervisor drops callbacks that are still out, and ends no VM.
//
//   (nothing) ──Start──▶ starting ──done(ok)──▶ running ◀─Resume/Pause─▶ paused
//       ▲                   │done(error)           │
//       │                   │                      │ (with a fence: ─VmLatched▶ latched ─ResumeUnder▶)
//       └───────────────────┘                      ▼ VmEnded, and an exit record on disk
//       ▲                                        ended ──Release──▶ (nothing)
//
// A uid belongs to one VM for ever; a VM that is started again after its end keeps it (Release first).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/page/fence_grant.h"
#include "grpc/vm_exit.h"
#include "grpc/vm_limits.h"
#include "vmm/config/machine_config.h"
#include "vmm/config/net_fds.h"
#include "vmm/config/sandbox_mode.h"
#include "vmm/control/control_messages.h"

namespace gemel::daemon {

// A VM's UUID as text; also the name of its folder, so of [0-9a-f-] alone and at most 36 bytes.
using VmUid = std::string;

// ---- what is asked ------------------------------------------------------------------------------

// What the caller has opened itself. What is empty here the supervisor opens by its path in the
// configuration, without holding up the loop; it locks all disks.
struct VmFiles {
  UniqueFd kernel;
  UniqueFd initrd;
  std::vector<UniqueFd> disks;  // none, or one a config.disks; each may be empty
  std::vector<NetFds> nets;     // none, or one a config.nets; each may be empty
};

struct VmStart {
  VmUid uid;
  // Has passed Validate. Its serial port is the supervisor's: whatever is said here, it is the
  // console hub. Without vsock (kUnimplemented).
  MachineConfig config;
  VmFiles files;
  VmLimits limits;
  SandboxMode sandbox = SandboxMode::kDefault;
  LogLevel log_level = LogLevel::kInfo;  // of <folder>/log
  // Of a VM of a cluster: it stops by itself when this ends (docs/FAILOVER.md, 'The latch').
  std::optional<cluster::FenceGrant> fence;
};

// ---- what is told -------------------------------------------------------------------------------

struct VmEnded {
  VmExit exit;
};
struct VmWasReset {};  // by the guest or by Reset; it runs again
// The process lives but does not answer any more (or answers another daemon); requests fail until it
// does again. Its end is still told.
struct VmUnreachable {
  std::string reason;
  bool silent = false;  // it owes an answer for the length of a heartbeat (VmSampler)
};
// It answers after VmUnreachable. Told by who asks it regularly (VmSampler).
struct VmAnswers {};
// The host could not read or write a disk of it; the guest was told.
struct VmDiskError {
  std::string device;  // "blk0"
  std::string reason;  // "write of 4096 bytes at 8192: No space left on device"
  std::uint64_t count = 0;
};
// A VM with a fence has proved that it issues nothing more until ResumeUnder. Again when nothing of
// what it issued before is in flight any more, and when storage says that its disk is another's
// (`fence.conflicted`: it can only be killed). Requests wait in it, and its guest is paused. Told once
// by a process that was connected then; GetInfo and Adopt show it at any time.
struct VmLatched {
  FenceState fence;
};
using VmEvent = std::variant<VmEnded, VmWasReset, VmUnreachable, VmAnswers, VmDiskError, VmLatched>;
using VmEventCallback = std::function<void(const VmUid& uid, const VmEvent& event)>;

using DoneCallback = std::function<void(Status)>;
using InfoCallback = std::function<void(Result<VmInfo>)>;

// What Adopt found of one VM.
struct AdoptedVm {
  enum class State : std::uint8_t {
    kNothing,  // no process and no record: it was never started, or released
    kLive,     // connected; `info` says whether it runs or is paused
    kEnded,    // `exit` says how; kept until Release
  };
  VmUid uid;
  State state = State::kNothing;
  VmInfo info;
  VmExit exit;
};
struct Adoption {
  std::vector<AdoptedVm> vms;  // one for each expected uid, in that order
  // What belonged to nobody, was killed and cleaned away: one line each, for the log.
  std::vector<std::string> orphans;
};
using AdoptionCallback = std::function<void(Result<Adoption>)>;

// ---- the supervisor -----------------------------------------------------------------------------

class VmSupervisor {
 public:
  virtual ~VmSupervisor() = default;

  // Once, before anything else: connects to what an earlier daemon left running, learns how the rest
  // has ended, and kills and cleans up whatever of this node's run folder is not in `expected`.
  virtual void Adopt(std::vector<VmUid> expected, AdoptionCallback done) = 0;

  // Makes the process and runs the guest. done(ok): the guest runs, VmEnded comes some day.
  // done(error): nothing is left of it, VmEnded does not come; the error names what was wrong with
  // which value (kInvalidArgument, kNotFound: the configuration's; kResourceExhausted: the host's).
  // kAlreadyExists if this uid is known and not released.
  virtual void Start(VmStart start, DoneCallback done) = 0;

  // Each gives kNotFound if no such VM lives, kFailedPrecondition if its state has no such edge,
  // kDeadlineExceeded if its process does not answer.
  virtual void PowerButton(const VmUid& uid, DoneCallback done) = 0;  // what follows is the guest's
  // Off, now; by force if it does not obey within some seconds. VmEnded follows, with kPoweredOff.
  virtual void PowerOff(const VmUid& uid, DoneCallback done) = 0;
  virtual void Reset(const VmUid& uid, DoneCallback done) = 0;
  virtual void Pause(const VmUid& uid, DoneCallback done) = 0;
  virtual void Resume(const VmUid& uid, DoneCallback done) = 0;
  // A latched VM goes on, with all that it has held back, under a later session and epoch. Gives
  // kFailedPrecondition if it has not proved its latch, if storage refused it, if the grant is no
  // later one, or over already. After kDeadlineExceeded, GetInfo says which session it is under.
  virtual void ResumeUnder(const VmUid& uid, cluster::FenceGrant fence, DoneCallback done) = 0;
  virtual void SetLink(const VmUid& uid, const std::string& device, bool up, DoneCallback done) = 0;
  virtual void SetBalloon(const VmUid& uid, std::uint64_t bytes, DoneCallback done) = 0;
  virtual void GetInfo(const VmUid& uid, InfoCallback done) = 0;

  // Changes the limits of a live VM; what could not be put in force is in `Limits(uid).missing`.
  virtual Status SetLimits(const VmUid& uid, const VmLimits& limits) = 0;
  virtual Result<VmLimitsInForce> Limits(const VmUid& uid) = 0;
  // Of its gemel-vmm on this host; 0: it does not live, or that is not known.
  virtual pid_t Pid(const VmUid& uid) const = 0;
  // Resident memory of that process beside the guest's RAM, by its smaps: for people who ask, since the
  // kernel walks its page tables for it. On another thread. 0: not known.
  virtual void MeasureOverhead(const VmUid& uid, std::function<void(std::uint64_t)> done) = 0;
  virtual void GetStatistics(const VmUid& uid, std::function<void(Result<VmStatistics>)> done) = 0;

  // A new connection to the serial console, non-blocking and close-on-exec: write what is to be
  // typed; read 8 bytes, the little-endian number of the first byte of output that follows (the
  // console's bytes are numbered from 0 since the VM started), then output without end. `from`: the
  // first byte wanted; it begins later if that one is no longer kept (the last 1 MiB is), 0 gives
  // all that is kept, ~0 nothing old. A reader who falls behind by more than what is kept is
  // disconnected, and may connect again. So is one of too many (64); it also ends with the VM.
  // kNotFound if no such VM lives.
  virtual Result<UniqueFd> AttachConsole(const VmUid& uid, std::uint64_t from) = 0;

  // What the console of a VM that has ended and is not released showed last: a file, to be read like
  // AttachConsole's connection. Empty if the VM had no time to write it.
  virtual Result<UniqueFd> LastConsole(const VmUid& uid) = 0;

  // Forgets a VM that has ended, its exit record and its folder: once its end is stored elsewhere.
  // kFailedPrecondition while it lives.
  virtual Status Release(const VmUid& uid) = 0;

  // SIGKILL, whatever it does. VmEnded follows; of one that is being started, an error of Start instead.
  // kNotFound if no such VM lives.
  virtual Status Kill(const VmUid& uid) = 0;
};

}  // namespace gemel::daemon
