// One virtual machine in this process: built from data and open descriptors, then started, paused,
// reset and ended.
//
//   Build ─▶ kBuilt ─Start─▶ kRunning ◀─Resume/Pause─▶ kPaused
//                               │ ▲
//                 guest or Reset│ │everything drained, cleared and loaded again
//                               ▼ │
//                            kResetting            any ─ PowerOff, crash ─▶ kOff
//
// Everything is called on the thread of the event loop it was built with, and so are the observer's
// members. The machine opens no file and knows no process around it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/page/fence_grant.h"
#include "virtio/balloon/device.h"
#include "virtio/blk/device.h"
#include "vmm/config/machine_config.h"
#include "vmm/config/net_fds.h"

namespace gemel {

// What the machine is built from, opened by somebody who may.
struct MachineFds {
  UniqueFd kvm;                 // /dev/kvm
  UniqueFd kernel;              // readable, seekable; kept, because a reset loads it again
  UniqueFd initrd;              // or none
  std::vector<UniqueFd> disks;  // one a config.disks, opened as it says
  std::vector<NetFds> nets;     // one a config.nets
  UniqueFd vsock_listener;      // with a config.vsock: listening
  UniqueFd vsock_dialer;        // the same: virtio/vsock/dial.h
  // By config.console.kind: kStdio: two ends, kUnix: `console_in`, listening.
  UniqueFd console_in;
  UniqueFd console_out;
  std::vector<UniqueFd> channels;  // one a config.channels, listening
  // By config.serial.kind: kStdio: two ends, kPty: the master twice, kFile: `serial_out` alone,
  // kUnix: `serial_in`, listening. kHub: the same, and `serial_out` is a file or none.
  UniqueFd serial_in;
  UniqueFd serial_out;
  // The machine is one of a cluster, and stops by itself when this ends (docs/FAILOVER.md).
  std::optional<cluster::FenceGrant> fence;
};

enum class MachineState : std::uint8_t { kBuilt, kRunning, kPaused, kResetting, kOff };

// How a machine with a fence stands.
struct MachineFence {
  cluster::SessionId session;
  cluster::Epoch epoch;
  bool latched = false;  // proved: no vCPU is in the guest, no thread submits anything more
  // Latched because storage said that the disk is another's. Only another process may go on.
  bool conflicted = false;
  std::size_t in_flight = 0;  // latched: what was submitted before and has not been answered
};

class MachineObserver {
 public:
  virtual ~MachineObserver() = default;
  // Within Build: every thread, ring and descriptor is there, and no file of the guest's has been
  // looked at. Time to give up rights.
  virtual void OnAssembled() {}
  // The guest, or PowerOff, switched the machine off.
  virtual void OnPoweredOff() = 0;
  // The guest asked for a reboot of a machine with OnReboot::kExit, which is now off.
  virtual void OnRebootExit() = 0;
  // A reset is complete; the machine is in the state it was in when the reset began.
  virtual void OnResetDone() = 0;
  // The guest cannot go on; the machine is off. `reason` is one line, `report` registers and code.
  virtual void OnCrashed(const std::string& reason, const std::string& report) = 0;
  // The same, before the guest's user space began.
  virtual void OnTripleFault(const std::string& reason, const std::string& report) {
    OnCrashed(reason, report);
  }
  // The guest's kernel said that it panicked; the machine is off.
  virtual void OnPanicked() = 0;
  // The machine has latched; then again whenever what is in flight becomes none.
  virtual void OnLatched(const MachineFence&) {}
  // A disk's file could not be read or written. The guest knows; at most every 10 s a disk.
  virtual void OnDiskTrouble(const std::string&, const virtio::BlkTrouble&) {}
};

// One device as it stands in the machine, for `info`.
struct MachineDevice {
  std::string name;  // "blk0"
  std::string kind;  // "virtio-blk"
  std::uint64_t address = 0;
  std::uint32_t irq = 0;
  std::uint32_t queues = 0;
  std::uint32_t queue_size = 0;
  std::string engine;  // what serves it, where there is a choice
  std::string note;    // why it is not what was asked for
  // What it has done; name and value, in an order that stays.
  std::vector<std::pair<std::string, std::uint64_t>> counters = {};
  std::string place = "";  // "00:01.0" on the PCI bus; empty: at `address` with line `irq`
};

struct MachineVcpu {
  std::uint64_t cpu_ns = 0;                                  // of its thread
  std::vector<std::pair<std::string, std::uint64_t>> exits;  // to user space, by reason
};

class Machine {
 public:
  // Builds all of it, up to images in guest memory and vCPUs ready to enter. An error names the
  // argument and the value that cannot be had, and leaves nothing behind. `observer` and `loop`
  // outlive the machine. REQUIRES: Validate(config) passed.
  static Result<std::unique_ptr<Machine>> Build(const MachineConfig& config, MachineFds fds,
                                                EventLoop* loop, MachineObserver* observer);
  virtual ~Machine() = default;

  virtual MachineState state() const = 0;
  virtual std::vector<MachineDevice> devices() const = 0;
  virtual std::vector<MachineVcpu> vcpus() const = 0;
  virtual std::uint64_t resets() const = 0;  // since Build

  // kFailedPrecondition, naming the state, where the state has no such edge.
  virtual Status Start() = 0;
  virtual Status Pause() = 0;  // returns when no vCPU runs
  virtual Status Resume() = 0;
  virtual Status Reset() = 0;  // OnResetDone follows
  virtual Status PressPowerButton() = 0;
  virtual Status PressSleepButton() = 0;  // kUnimplemented where there is none
  // Pulls the network cable of a device ("net0"), or plugs it in. kNotFound, naming it.
  virtual Status SetLink(const std::string& device, bool up) = 0;
  // Ends it now. What is in flight is drained first, for at most 2 s; OnPoweredOff is called before
  // this returns. After that the process should end without destroying the machine, whose
  // destructor waits for storage that hangs.
  virtual void PowerOff() = 0;
  // Waits, at most `timeout_ms`, until the serial port has passed on what the guest wrote.
  virtual void DrainSerial(int timeout_ms) = 0;
  // How it stands with the fence, if there is one.
  virtual std::optional<MachineFence> fence() const = 0;
  // Goes on under a later session and epoch: what was held back goes out, and if it was running it
  // runs. While it is latched, Start, Resume and Reset fail. kFailedPrecondition if it has not
  // proved its latch, if storage refused it, or for a grant that is no later one or over.
  virtual Status ResumeUnder(const cluster::FenceGrant& grant) = 0;
  // The memory balloon, if there is one; lives as long as the machine.
  virtual virtio::BalloonControl* balloon() = 0;
};

}  // namespace gemel
