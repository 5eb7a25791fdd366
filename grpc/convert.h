// From what the API says of a machine to what a VM's process is made of. Pure but for `HostPaths`.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "grpc/api_error.h"
#include "grpc/iscsi_targets.h"
#include "grpc/vm_exit.h"
#include "grpc/vm_limits.h"
#include "proto/gemel/v1/virtual_machines.pb.h"
#include "vmm/config/machine_config.h"

namespace gemel::daemon {

// What of the host the API may name.
struct HostPaths {
  std::vector<std::string> boot_folders;  // kernels and initrds are below these, or refused
  // The path of a disk; kInvalidArgument (field empty) for a disk that is not there or not usable.
  std::function<ApiResult<std::string>(std::string_view disk)> disk_path;
  // The interface of a machine's card on a network: "<uid of the machine>/<number of the card>".
  std::function<std::string(const std::string& port_uid)> tap_name;
  bool vhost = true;  // the host's kernel may move the frames of cards on networks
  IscsiTargets iscsi;
};

// Sets what was left to its default, so that a later change of a default changes no machine.
void FillDefaults(v1::VirtualMachineSpec& spec);

// A validated configuration of `spec` with its defaults. kInvalidArgument naming "<prefix>.<field>"
// and its value.
ApiResult<MachineConfig> ToMachineConfig(const v1::VirtualMachineSpec& spec, std::string_view vm_id,
                                         std::string_view uid, const HostPaths& paths,
                                         std::string_view prefix);
// What the guest and the process around it need together: admission counts it, and it is the memory
// limit where none is asked for.
std::uint64_t MemoryNeed(const v1::VirtualMachineSpec& spec);
ApiResult<VmLimits> ToLimits(const v1::VirtualMachineSpec& spec, std::string_view prefix);

v1::ExitReason ToExitReason(VmExitCause cause);
// "GUEST_POWER_OFF" of EXIT_REASON_GUEST_POWER_OFF.
std::string ReasonWord(v1::ExitReason reason);

// The folder of `folders` that `path` is in, without looking at the file system; empty: none.
std::string_view FolderOf(std::string_view path, const std::vector<std::string>& folders);

// What a machine has used, and all its disks and cards together. Names and numbers are its process's
// word: unknown counters are left out.
v1::VirtualMachineStats ToStats(const std::string& name, std::int64_t realtime_ns,
                                const VmStatistics& statistics);

}  // namespace gemel::daemon
