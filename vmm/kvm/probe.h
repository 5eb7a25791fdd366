// What a host's KVM can and cannot do, found out by asking it and by running guests of a few
// instructions on it. Never told from a module's name.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace gemel::kvm {

struct KvmCapability {
  std::string name;       // in words: "in-kernel interrupt controllers"
  bool required = false;  // Gemel does not start without it
  bool present = false;
};

// A guest of a few instructions, and how it went.
struct ProbeGuest {
  std::string name;  // in words: "a system call from user mode reaches kernel mode"
  bool works = false;
  std::string detail;  // when it does not: what happened instead, one line
};

struct KvmProbe {
  int api_version = 0;
  std::uint32_t max_vcpus = 0;
  std::uint32_t recommended_vcpus = 0;
  std::uint32_t memory_slots = 0;
  std::uint32_t physical_address_bits = 0;
  std::vector<KvmCapability> capabilities;
  std::vector<ProbeGuest> guests;  // empty if a required capability is missing
  // All that is required is present and every probe guest works: a stock operating system can run.
  bool runs_unmodified_os = false;
  // Why not, a sentence each, for a person; empty if runs_unmodified_os.
  std::vector<std::string> missing;
};

// Takes at most about two seconds. `kvm_fd` is an open /dev/kvm and stays the caller's. An error
// only if KVM cannot be asked at all; whatever it lacks is in the answer. Starts threads, and takes
// SIGRTMIN as VcpuThread::Start does.
Result<KvmProbe> ProbeKvm(int kvm_fd);

}  // namespace gemel::kvm
