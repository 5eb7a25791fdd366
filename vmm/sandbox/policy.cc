// How to add a system call: a line in the right group, with who needs it and for what. A thread
// that lacks one ends its VM, and `gemel run` names thread and call. Not here, ever: what opens
// files by name, makes processes or sockets of the network, looks into other processes, or makes
// memory executable.
#include "vmm/sandbox/policy.h"

#include <fcntl.h>
#include <linux/fs.h>
// Its inline functions are C.
#define VIRTIO_RING_NO_LEGACY
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>

#include "vmm/kvm/ioctl.h"

namespace gemel::sandbox {
namespace {

using enum ThreadRole;

constexpr Roles kAll = Of({kMain, kVcpu, kWorker, kDisk, kNet, kStream});
constexpr Roles kLoops = Of({kMain, kWorker, kDisk, kNet, kStream});  // run an EventLoop
constexpr Roles kSockets = Of({kMain, kDisk, kNet, kStream});

constexpr std::uint64_t kInt = 0xffffffff;  // an argument that the kernel takes as int

// NOLINTNEXTLINE(readability-function-size): a table
const std::vector<Rule>& Calls() {
  static const std::vector<Rule> rules = {
      // ---- what any thread does
      {SYS_read, {}, kAll, "event descriptors, timers; files and taps of those that have them"},
      {SYS_write, {}, kAll, "waking loops, triggering interrupts, log lines; as read"},
      {SYS_close, {}, kAll, "what a device drops"},
      {SYS_poll, {}, kAll, "base/log.cc asks before it writes; serial ports likewise"},
      {SYS_ppoll, {}, kAll, "poll as newer C libraries make it"},
      {SYS_futex, {}, kAll, "locks, condition variables, joining threads"},
      {SYS_eventfd2, {}, kAll, "a device that is activated, a console's client"},
      {SYS_clock_gettime, {}, kAll, "where the vDSO cannot tell the time (clock source not TSC)"},
      {SYS_gettimeofday, {}, kAll, "the same"},
      {SYS_sched_yield, {}, kAll, "the C++ library's short waits"},
      {SYS_getrandom, {}, kAll, "virtio-rng; the C library's allocator"},
      {SYS_gettid, {}, kAll, "abort"},
      {SYS_getpid, {}, kAll, "abort"},
      {SYS_rt_sigprocmask, {}, kAll, "abort, pthread_kill"},
      {SYS_rt_sigreturn, {}, kAll, "the end of the kick's handler"},
      {SYS_restart_syscall, {}, kAll, "the kernel's, after SIGSTOP and SIGCONT"},
      {SYS_tgkill,
       {{0, kInt, kOwnProcess}, {2, kInt, SIGABRT}},
       kAll,
       "abort, of this process alone"},
      {SYS_tgkill,
       {{0, kInt, kOwnProcess}, {2, kInt, 34}},  // SIGRTMIN is a function in the C library
       Of({kMain, kVcpu}),
       "kicking vCPUs out of the guest"},
      {SYS_exit, {}, kAll, "the end of a thread"},
      {SYS_exit_group, {}, kAll, "the end of the process"},

      // ---- memory: never executable, and but for the deadline page never a file
      {SYS_mmap,
       {{2, PROT_EXEC, 0}, {3, MAP_ANONYMOUS, MAP_ANONYMOUS}},
       kAll,
       "the allocator; bounce buffers"},
      {SYS_mmap,
       {{2, kInt, PROT_READ}, {3, MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS, MAP_SHARED}},
       Of({kMain}),
       "a deadline page, when a VM goes on under a new session: a file, but read-only"},
      {SYS_mprotect, {{2, PROT_EXEC, 0}}, kAll, "the allocator's arenas"},
      {SYS_munmap, {}, kAll, "the allocator"},
      {SYS_mremap, {}, kAll, "the allocator's realloc"},
      {SYS_brk, {}, kAll, "the allocator"},
      {SYS_madvise, {}, kAll, "the allocator; clearing guest RAM; balloon"},
      {SYS_sched_getaffinity, {}, kAll, "the allocator: how many arenas"},
      {SYS_fallocate, {}, Of({kMain, kWorker, kDisk}), "clearing shared RAM; balloon; discard"},

      // ---- event loops
      {SYS_epoll_wait, {}, kLoops, "base/event_loop.cc"},
      {SYS_epoll_pwait, {}, kLoops, "the same in newer C libraries"},
      {SYS_epoll_ctl, {}, kLoops, "watching and unwatching"},
      {SYS_timerfd_settime, {}, kAll, "RTC, serial port, rate limits"},
      {SYS_timer_settime, {}, Of({kVcpu}), "when to look at the deadline page again"},
      {SYS_timer_delete, {}, Of({kMain}), "the same timers, when a machine could not be built"},
      {SYS_newfstatat,
       {{3, kInt, AT_EMPTY_PATH}},
       Of({kMain, kDisk, kNet, kStream}),
       "fstat: is it a socket, how long is the kernel"},
      {SYS_lseek, {}, Of({kMain}), "the kernel is loaded again at a reset"},
      {SYS_pread64, {}, Of({kMain, kDisk}), "kernel and initrd at a reset; disks"},

      // ---- sockets that were made before, or by others
      {SYS_recvmsg, {}, kSockets, "control channel; frames; iSCSI"},
      {SYS_sendmsg, {}, kSockets, "control channel; frames; iSCSI"},
      {SYS_sendto,
       {},
       Of({kMain, kVcpu, kDisk, kNet, kStream}),
       "a console on a socket; frames; iSCSI"},
      {SYS_recvfrom, {}, kSockets, "frames, streams, iSCSI"},
      {SYS_sendmmsg, {}, Of({kNet}), "frames, many at once"},
      {SYS_accept4,
       {},
       Of({kMain, kNet, kStream}),
       "a console's, a vsock's or a network's next client"},
      {SYS_shutdown, {}, Of({kMain, kStream}), "one direction of a stream ends"},
      {SYS_getsockopt, {}, Of({kMain, kNet, kStream}), "whether a connection came about"},
      {SYS_readv, {}, Of({kDisk, kNet, kStream}), "scattered buffers of the guest"},
      {SYS_writev, {}, Of({kDisk, kNet, kStream}), "the same"},
      {SYS_memfd_create, {}, Of({kMain}), "a control message of more than 64 KiB"},

      // ---- disks
      {SYS_preadv, {}, Of({kDisk}), "the synchronous engine"},
      {SYS_pwritev, {}, Of({kDisk}), "the same"},
      {SYS_pwrite64, {}, Of({kDisk}), "the same"},
      {SYS_fdatasync, {}, Of({kDisk}), "flush"},
      {SYS_io_uring_enter, {}, Of({kDisk}), "rings are made and confined before (restricted_ring)"},
  };
  return rules;
}

struct Command {
  std::uint64_t number;
  Roles roles;
  const char* reason;
};

constexpr Roles kVcpuOnly = Of({kVcpu});
constexpr Roles kMainAndVcpu = Of({kMain, kVcpu});
// Transports take interrupts and kicks away where a reset ends, which is a device's own thread.
constexpr Roles kWiring = kAll;

constexpr Command kIoctls[] = {
    {KVM_RUN, kVcpuOnly, "the guest"},
    {KVM_KVMCLOCK_CTRL, kVcpuOnly, "the guest was paused"},
    {KVM_GET_REGS, kVcpuOnly, "reports of crashes"},
    {KVM_SET_REGS, kVcpuOnly, "reset"},
    {KVM_GET_SREGS, kVcpuOnly, "reports; has user space begun"},
    {KVM_SET_SREGS, kVcpuOnly, "reset"},
    {KVM_TRANSLATE, kVcpuOnly, "the code bytes of a report"},
    {KVM_SET_MSRS, kVcpuOnly, "reset"},
    {KVM_GET_MSRS, kVcpuOnly, "saving a vCPU"},
    {KVM_GET_LAPIC, kVcpuOnly, "the same"},
    {KVM_SET_LAPIC, kVcpuOnly, "reset"},
    {KVM_GET_XSAVE, kVcpuOnly, "saving a vCPU"},
    {KVM_SET_XSAVE, kVcpuOnly, "reset"},
    {KVM_GET_XCRS, kVcpuOnly, "saving a vCPU"},
    {KVM_SET_XCRS, kVcpuOnly, "reset"},
    {KVM_GET_DEBUGREGS, kVcpuOnly, "saving a vCPU"},
    {KVM_SET_DEBUGREGS, kVcpuOnly, "reset"},
    {KVM_GET_MP_STATE, kVcpuOnly, "saving a vCPU"},
    {KVM_SET_MP_STATE, kVcpuOnly, "reset"},
    {KVM_GET_VCPU_EVENTS, kVcpuOnly, "saving a vCPU"},
    {KVM_SET_VCPU_EVENTS, kVcpuOnly, "reset"},
    {KVM_GET_IRQCHIP, Of({kMain}), "saving the machine"},
    {KVM_SET_IRQCHIP, Of({kMain}), "reset"},
    {KVM_GET_PIT2, Of({kMain}), "saving the machine"},
    {KVM_SET_PIT2, Of({kMain}), "reset"},
    {KVM_GET_CLOCK, Of({kMain}), "saving the machine"},
    {KVM_SET_CLOCK, Of({kMain}), "reset"},
    {KVM_IRQFD, kWiring, "an interrupt's wiring, or its end"},
    {KVM_IOEVENTFD, kWiring, "a queue's kick; moved with its BAR"},
    {KVM_IRQ_LINE, kAll, "the level of a line: the SCI, the pin of a PCI device"},
    {KVM_SET_GSI_ROUTING, kMainAndVcpu, "an MSI's address and data"},
    {KVM_SET_USER_MEMORY_REGION, kMainAndVcpu, "PAM: ROM becomes RAM and back"},
    {TUNSETOFFLOAD, Of({kNet}), "what the guest's frames may leave undone"},
    {TUNSETQUEUE, Of({kNet}), "which queue pairs the guest uses"},
    {TUNSETCARRIER, Of({kNet}), "the cable is pulled"},
    {TCGETS, Of({kMain}), "a console on a pty"},
    {TCSETS, Of({kMain}), "the same"},
    {VHOST_SET_FEATURES, Of({kNet}), "a network card that the kernel serves is activated"},
    {VHOST_SET_MEM_TABLE, Of({kNet}), "the same: where guest memory lies"},
    {VHOST_SET_VRING_NUM, Of({kNet}), "the same: its rings"},
    {VHOST_SET_VRING_ADDR, Of({kNet}), "the same"},
    {VHOST_SET_VRING_BASE, Of({kNet}), "the same"},
    {VHOST_SET_VRING_KICK, Of({kNet}), "the same: what they signal; or its end"},
    {VHOST_SET_VRING_CALL, Of({kNet}), "the same"},
    {VHOST_SET_VRING_ERR, Of({kNet}), "the same"},
    {VHOST_NET_SET_BACKEND, Of({kNet}), "frames move, or no longer"},
    {BLKDISCARD, Of({kDisk}), "discard on a block device"},
    {BLKZEROOUT, Of({kDisk}), "write zeroes on a block device"},
};

constexpr Command kFcntls[] = {
    {F_GETFL, Of({kMain, kNet, kStream}), "blocking or not"},
    {F_SETFL, Of({kMain, kNet, kStream}), "the same"},
    {F_SETFD, Of({kMain}), "descriptors from the controller"},
    {F_DUPFD_CLOEXEC, Of({kMain}), "descriptors from the controller"},
    {F_ADD_SEALS, Of({kMain}), "a control message of more than 64 KiB"},
    {F_GET_SEALS, Of({kMain}), "the same, received"},
};

}  // namespace

std::vector<Rule> Policy() {
  std::vector<Rule> rules = Calls();
  for (const Command& command : kIoctls)
    rules.push_back({SYS_ioctl, {{1, kInt, command.number}}, command.roles, command.reason});
  for (const Command& command : kFcntls)
    rules.push_back({SYS_fcntl, {{1, kInt, command.number}}, command.roles, command.reason});
  return rules;
}

}  // namespace gemel::sandbox
