// What this host has, as plain data. How it is judged: cli/host_report.h.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "vmm/config/host_limits.h"

namespace gemel::cli {

// An open(2) or system call tried: 0 if it worked, else its errno.
struct Attempt {
  int error = 0;
  bool ok() const { return error == 0; }
};

struct KvmFacts {
  Attempt open;                    // /dev/kvm for reading and writing
  std::string module;              // "kvm_amd"; empty: not known
  bool cpu_has_extension = false;  // VT-x or AMD-V in /proc/cpuinfo
  bool cpu_is_amd = false;
  bool in_virtual_machine = false;
  bool nested_paging = false;
  std::string probe_error;  // KVM could not be asked; empty: it could
  std::uint32_t max_vcpus = 0;
  std::uint32_t physical_address_bits = 0;
  bool runs_unmodified_os = false;
  std::vector<std::string> missing;  // why it does not, a sentence each
};

struct HostFacts {
  KvmFacts kvm;  // filled in by cli/host_check.cc
  HostLimits memory;
  std::string thp;                // "always", "madvise", "never"; empty: not known
  Attempt io_uring;               // a ring could be made
  Attempt io_uring_restrictions;  // and bound to some operations
  Attempt vhost_net;
  Attempt tun;
  int landlock_abi = 0;  // 0: none
  bool seccomp = false;
  Attempt user_namespaces;
  bool watchdog = false;
  std::string watchdog_identity;  // "Software Watchdog"; empty: not known
};

// Everything but KVM's own answers (max_vcpus … missing). Forks a child for a moment.
HostFacts ReadHostFacts();

}  // namespace gemel::cli
