#include "helpers/slirp/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <memory>

#include "base/log.h"

namespace gemel::usernet {
namespace {

constexpr uid_t kNobody = 65534;
constexpr rlim_t kMaxDescriptors = 1024;     // a connection of the guest's is one
constexpr rlim_t kMaxMemory = 384ull << 20;  // their buffers
constexpr std::uint64_t kSocketTypes = 0xf;  // the rest are flags (SOCK_TYPE_MASK)

// A folder without a name: nothing can be made in it, and it is gone with us.
Status EnterEmptyFolder() {
  char path[] = "/tmp/gemel-slirp-XXXXXX";
  if (mkdtemp(path) == nullptr) return ErrnoError(errno, path);
  const int entered = chdir(path);
  const int error = errno;
  rmdir(path);
  if (entered != 0) return ErrnoError(error, path);
  return {};
}

// Without a place to make the folder, /proc/self/fdinfo is one that nobody can write to.
Status EnterSomeFolder() {
  if (EnterEmptyFolder()) return {};
  if (chdir("/proc/self/fdinfo") != 0 && chdir("/") != 0) return ErrnoError(errno, "chdir");
  return {};
}

Status BecomeNobody() {
  if (geteuid() != 0) return {};
  if (chroot(".") != 0) LOG_UNLIMITED(kInfo, "user-net", "no chroot: {}", strerror(errno));
  if (setgroups(0, nullptr) == 0 && setresgid(kNobody, kNobody, kNobody) == 0 &&
      setresuid(kNobody, kNobody, kNobody) == 0)
    return {};
  // Root of a user namespace that has nobody else in it.
  if (errno != EINVAL && errno != EPERM) return ErrnoError(errno, "become nobody");
  LOG_UNLIMITED(kInfo, "user-net", "stays root of its user namespace: {}", strerror(errno));
  return {};
}

Status DropCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (syscall(SYS_capset, &header, none.data()) != 0) return ErrnoError(errno, "capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoError(errno, "no_new_privs");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return ErrnoError(errno, "dumpable");
  return {};
}

Status SetLimit(__rlimit_resource resource, rlim_t most) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return ErrnoError(errno, "getrlimit");
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(resource, &limit) != 0) return ErrnoError(errno, "setrlimit");
  return {};
}

Status SetLimits() {
  RETURN_IF_ERROR(SetLimit(RLIMIT_NOFILE, kMaxDescriptors));
  RETURN_IF_ERROR(SetLimit(RLIMIT_DATA, kMaxMemory));
  RETURN_IF_ERROR(SetLimit(RLIMIT_CORE, 0));
  RETURN_IF_ERROR(SetLimit(RLIMIT_NPROC, 0));
  return SetLimit(RLIMIT_MEMLOCK, 0);
}

// ---- system calls -------------------------------------------------------------------------------

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};

// Collects the first failure, so that the list reads as a list.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS)) {}

  void Allow(std::initializer_list<int> calls) {
    for (const int call : calls) Add(SCMP_ACT_ALLOW, call, {});
  }
  void Refuse(std::initializer_list<int> calls) {
    for (const int call : calls) Add(SCMP_ACT_ERRNO(EACCES), call, {});
  }
  void AllowIf(int call, std::initializer_list<scmp_arg_cmp> arguments) {
    Add(SCMP_ACT_ALLOW, call, arguments);
  }
  void RefuseIf(int call, std::initializer_list<scmp_arg_cmp> arguments) {
    Add(SCMP_ACT_ERRNO(EACCES), call, arguments);
  }
  Status Load() {
    if (!context_) return Internal("seccomp_init");
    if (error_ != 0) return ErrnoError(-error_, "seccomp rule");
    if (const int error = seccomp_load(context_.get()); error != 0)
      return ErrnoError(-error, "seccomp");
    return {};
  }

 private:
  void Add(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> arguments) {
    if (!context_ || error_ != 0) return;
    error_ = seccomp_rule_add_array(context_.get(), action, call,
                                    static_cast<unsigned>(arguments.size()), arguments.begin());
  }

  std::unique_ptr<void, ReleaseFilter> context_;
  int error_ = 0;
};

scmp_arg_cmp Equal(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp Masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

// Sockets of the Internet, which libslirp connects for the guest. What listens does so already:
// neither bind nor listen is in the list, nor any other family.
void AllowSockets(Filter& filter) {
  for (const std::uint64_t family : std::to_array<std::uint64_t>({AF_INET, AF_INET6})) {
    for (const std::uint64_t type : {SOCK_STREAM, SOCK_DGRAM})
      filter.AllowIf(SCMP_SYS(socket), {Equal(0, family), Masked(1, kSocketTypes, type)});
    // What libslirp tries where a ping's socket needs a group that we are not in.
    filter.RefuseIf(SCMP_SYS(socket), {Equal(0, family), Masked(1, kSocketTypes, SOCK_RAW)});
  }
  // if_nametoindex of a name server with a zone ("fe80::1%eth0") tries families until one works.
  for (const std::uint64_t family : std::to_array<std::uint64_t>({AF_UNIX, AF_NETLINK, AF_PACKET}))
    filter.RefuseIf(SCMP_SYS(socket), {Equal(0, family)});
  filter.Allow({SCMP_SYS(connect), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(recvfrom),
                SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(shutdown),
                SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
                SCMP_SYS(setsockopt)});
  for (const std::uint64_t request :
       std::to_array<std::uint64_t>({FIONREAD, FIONBIO, SIOCGIFINDEX}))
    filter.AllowIf(SCMP_SYS(ioctl), {Equal(1, request)});
  for (const std::uint64_t command :
       std::to_array<std::uint64_t>({F_GETFL, F_SETFL, F_GETFD, F_SETFD}))
    filter.AllowIf(SCMP_SYS(fcntl), {Equal(1, command)});
}

void AllowMemory(Filter& filter) {
  filter.Allow({SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise)});
  filter.AllowIf(SCMP_SYS(mmap),
                 {Masked(2, PROT_EXEC, 0), Masked(3, MAP_ANONYMOUS, MAP_ANONYMOUS)});
  filter.AllowIf(SCMP_SYS(mprotect), {Masked(2, PROT_EXEC, 0)});
}

Status FilterSystemCalls() {
  Filter filter;
  // The loop: poll, frames, the log, the name servers' file, and time where the vDSO has none.
  filter.Allow({SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev),
                SCMP_SYS(pread64), SCMP_SYS(fstat), SCMP_SYS(close), SCMP_SYS(clock_gettime),
                SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(restart_syscall)});
  AllowSockets(filter);
  AllowMemory(filter);
  // The C library's: malloc's keys and locks, and the ways out, of which abort is one.
  filter.Allow({SCMP_SYS(getrandom), SCMP_SYS(futex), SCMP_SYS(exit), SCMP_SYS(exit_group),
                SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(rt_sigaction),
                SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn)});
  filter.AllowIf(SCMP_SYS(tgkill), {Equal(0, static_cast<std::uint64_t>(getpid()))});
  // What libraries try and do without.
  filter.Refuse({SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(newfstatat),
                 SCMP_SYS(access), SCMP_SYS(readlink), SCMP_SYS(bind)});
  return filter.Load();
}

}  // namespace

Status Confine() {
  RETURN_IF_ERROR(EnterSomeFolder());
  RETURN_IF_ERROR(BecomeNobody());
  RETURN_IF_ERROR(SetLimits());
  RETURN_IF_ERROR(DropCapabilities());
  return FilterSystemCalls();
}

}  // namespace gemel::usernet
