#include "vmm/sandbox/landlock.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/unique_fd.h"

namespace gemel::sandbox {
namespace {

constexpr std::uint32_t kAskForVersion = 1;

// struct landlock_ruleset_attr as of ABI 6; the C library's headers may be older. Older kernels
// take the front part of it.
struct RulesetAttributes {
  std::uint64_t access_fs = 0;
  std::uint64_t access_net = 0;
  std::uint64_t scoped = 0;
};
constexpr std::size_t kSizeFs = 8, kSizeNet = 16, kSizeScoped = 24;

// Everything that this version can forbid.
RulesetAttributes ForbidAll(long abi) {
  RulesetAttributes all;
  unsigned file_rights = 13;       // EXECUTE to MAKE_SYM
  if (abi >= 2) file_rights = 14;  // REFER
  if (abi >= 3) file_rights = 15;  // TRUNCATE
  if (abi >= 5) file_rights = 16;  // IOCTL_DEV
  all.access_fs = (1u << file_rights) - 1;
  if (abi >= 4) all.access_net = 3;  // BIND_TCP, CONNECT_TCP
  if (abi >= 6) all.scoped = 3;      // ABSTRACT_UNIX_SOCKET, SIGNAL
  return all;
}

std::size_t SizeFor(long abi) {
  if (abi >= 6) return kSizeScoped;
  return abi >= 4 ? kSizeNet : kSizeFs;
}

SandboxLayer Missing(int error) {
  return {"Landlock", false, error == ENOSYS ? "not in this kernel" : std::strerror(error)};
}

}  // namespace

SandboxLayer EnterLandlock() {
  // The C library has no functions for these.
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0ul, kAskForVersion);
  if (abi < 1) return Missing(errno);
  const RulesetAttributes all = ForbidAll(abi);
  const UniqueFd rules(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &all, SizeFor(abi), 0u)));
  // A ruleset without a single rule: nothing is allowed.
  if (!rules || syscall(SYS_landlock_restrict_self, rules.get(), 0u) != 0) return Missing(errno);
  return {"Landlock", true, fmt::format("ABI {}", abi)};
}

}  // namespace gemel::sandbox
