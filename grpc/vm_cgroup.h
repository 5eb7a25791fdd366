// The control group (cgroup v2) of each VM below one of the daemons': limits, and what is used. A host
// without cgroup v2, or without a controller, is no error: what is missing is said.
//
// Any thread; the files are the state. A group has its VM's uid for a name and holds all of its
// processes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "grpc/vm_limits.h"

namespace gemel::daemon {

// What a VM's overhead is computed from.
struct VmSize {
  std::uint64_t memory = 0;
  std::uint32_t cpus = 1;
  std::size_t devices = 0;
};

// What a VM's processes need beside the guest's RAM, page tables and KVM's own included: measured, and
// doubled. A guest that touches hardly any of its RAM holds 7.2 MiB (memory.current; 2.3 anonymous, 0.7
// the kernel's, 3.8 page cache of the programs), in tests/integration/test_supervisor.py on Debian 12.
std::uint64_t MemoryOverhead(const VmSize& size);

class VmCgroups {
 public:
  // `parent`: the daemons' group, made at need, in a cgroup v2 hierarchy; empty: "gemel" in this
  // host's, if it has one.
  explicit VmCgroups(std::string parent = {});

  // Why there are no groups; empty: there are.
  const std::string& missing() const { return missing_; }

  // Makes the group (one that is there will do); its folder. Empty if there are none.
  std::string Create(const std::string& uid) const;
  // Puts `limits` in force; what of them could not be, a line each: "io: this host …".
  std::vector<std::string> Apply(const std::string& uid, const VmLimits& limits) const;
  // What the kernel says is in force; `missing` is left to the caller.
  VmLimitsInForce Read(const std::string& uid) const;
  // memory.current; 0: not known.
  std::uint64_t MemoryInUse(const std::string& uid) const;
  // How often the kernel killed something in it for want of memory.
  std::uint64_t OutOfMemoryKills(const std::string& uid) const;
  // SIGKILLs whatever is in it.
  void KillAll(const std::string& uid) const;
  // True if it is gone, now or before; false while something in it still ends.
  bool Remove(const std::string& uid) const;

 private:
  std::string Folder(const std::string& uid) const { return parent_ + "/" + uid; }

  std::string parent_;
  std::string missing_;
};

}  // namespace gemel::daemon
