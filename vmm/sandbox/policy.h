// Which thread may make which system calls, as data. Only make_filters.cc uses it, while building;
// gemel-vmm holds the programs that come out.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/thread.h"

namespace gemel::sandbox {

// A set of roles, a bit each.
using Roles = std::uint32_t;

constexpr Roles Of(std::initializer_list<ThreadRole> roles) {
  Roles set = 0;
  for (const ThreadRole role : roles) set |= 1u << static_cast<unsigned>(role);
  return set;
}
constexpr bool Has(Roles set, ThreadRole role) { return (set & Of({role})) != 0; }

// Stands in a filter where the process's own number belongs; put in when the filter is installed.
inline constexpr std::uint32_t kOwnProcess = 0x7a5e11f0;
// A system call that Linux never had: making it ends the process, with SIGSYS, where others that
// are not allowed first tell which they were (sandbox.cc).
inline constexpr int kFatalSyscall = 236;  // vserver

struct Compare {
  unsigned argument = 0;  // from 0
  std::uint64_t mask = 0;
  std::uint64_t value = 0;  // (argument & mask) == value
};

struct Rule {
  int syscall = 0;
  std::vector<Compare> where;  // all of them; empty: whatever the arguments are
  Roles roles = 0;
  const char* reason = nullptr;
};

// Everything that is allowed. What is not here is refused and ends the process.
std::vector<Rule> Policy();

}  // namespace gemel::sandbox
