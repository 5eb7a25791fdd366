#include "vmm/kvm/vcpu_thread.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/thread.h"

namespace gemel::kvm {
namespace {

// A kick is immediate_exit, which stops the next KVM_RUN, and then this signal, which ends the
// current one. In that order neither can be missed: whichever side of KVM_RUN's first look at
// immediate_exit the thread is on, one of the two is still to come. The handler has nothing to do.
//
// A permit's timer sends the same signal, from nobody: there the handler sets immediate_exit, so that
// it does not matter either whether KVM_RUN had begun.
thread_local Vcpu* timed_vcpu = nullptr;

void InstallKickHandler() {
  static const bool installed = [] {
    struct sigaction action{};
    action.sa_handler = [](int) {
      if (timed_vcpu != nullptr) timed_vcpu->RequestExit();
    };
    action.sa_flags = SA_RESTART;  // for system calls of devices; KVM_RUN ends all the same
    return sigaction(SIGRTMIN, &action, nullptr) == 0;
  }();
  CHECK(installed);
}

// Signals of the process are its main thread's business; faults stay with the thread that has them.
void BlockSignalsButKick() {
  sigset_t set;
  sigfillset(&set);
  for (const int signal : {SIGRTMIN, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&set, signal);
  }
  pthread_sigmask(SIG_SETMASK, &set, nullptr);
}

}  // namespace

Result<std::unique_ptr<VcpuThread>> VcpuThread::Start(std::unique_ptr<Vcpu> vcpu,
                                                      VcpuEnvironment environment) {
  InstallKickHandler();
  std::unique_ptr<VcpuThread> result(new VcpuThread(std::move(vcpu), std::move(environment)));
  VcpuThread* const self = result.get();
  ASSIGN_OR_RETURN(
      self->thread_,
      StartThread(fmt::format("vcpu-{}", self->id_), [self] { self->Main(); }, ThreadRole::kVcpu));
  if (self->environment_.permit != nullptr) RETURN_IF_ERROR(self->CreateTimer());
  return result;
}

VcpuThread::VcpuThread(std::unique_ptr<Vcpu> vcpu, VcpuEnvironment environment)
    : id_(vcpu->id()), vcpu_(std::move(vcpu)), environment_(std::move(environment)) {
  vcpu_->SetPermit(environment_.permit);
}

VcpuThread::~VcpuThread() {
  Stop();
  if (timer_) timer_delete(*timer_);
}

// By its creator, who may still do so: a vCPU's thread may set timers, and make none.
Status VcpuThread::CreateTimer() {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGRTMIN;
  {
    const MutexLock lock(mutex_);
    while (tid_ == 0) changed_.wait(mutex_);
    event._sigev_un._tid = tid_;
  }
  timer_t timer{};
  if (timer_create(CLOCK_BOOTTIME, &event, &timer) != 0)
    return ErrnoError(errno, fmt::format("vCPU {}: timer_create", id_));
  timer_ = timer;
  return {};
}

// ---- the owner's side ---------------------------------------------------------------------------

void VcpuThread::Want(State state) {
  if (wanted_ == State::kFinished) return;
  wanted_ = state;
  changed_.notify_all();
  if (state == State::kRunning || state_ != State::kRunning) return;
  vcpu_->RequestExit();
  pthread_kill(thread_.native_handle(), SIGRTMIN);
}

void VcpuThread::Resume() {
  const MutexLock lock(mutex_);
  Want(State::kRunning);
}

void VcpuThread::RequestPause() {
  const MutexLock lock(mutex_);
  Want(State::kPaused);
}

void VcpuThread::WaitPaused() {
  const MutexLock lock(mutex_);
  while (state_ == State::kRunning) changed_.wait(mutex_);
}

void VcpuThread::Pause() {
  RequestPause();
  WaitPaused();
}

void VcpuThread::Stop() {
  {
    const MutexLock lock(mutex_);
    Want(State::kFinished);
  }
  if (thread_.joinable()) thread_.join();
}

Status VcpuThread::RunPaused(std::function<Status(Vcpu&)> task) {
  const MutexLock lock(mutex_);
  if (state_ != State::kPaused || wanted_ != State::kPaused || task_ != nullptr)
    return FailedPrecondition("vCPU {} is not paused", id_);
  PausedTask paused_task{std::move(task), std::nullopt};
  task_ = &paused_task;
  changed_.notify_all();
  while (!paused_task.result && state_ == State::kPaused) changed_.wait(mutex_);
  if (paused_task.result) return std::move(*paused_task.result);
  task_ = nullptr;
  return FailedPrecondition("vCPU {} was resumed or stopped meanwhile", id_);
}

std::array<std::uint64_t, kExitKinds> VcpuThread::exit_counts() const {
  std::array<std::uint64_t, kExitKinds> counts{};
  for (std::size_t i = 0; i < kExitKinds; ++i)
    counts[i] = exits_[i].load(std::memory_order_relaxed);
  return counts;
}

std::uint64_t VcpuThread::cpu_ns() const {
  if (!thread_.joinable()) return 0;
  clockid_t clock{};
  timespec time{};
  // The C library names the clock by the thread's number.
  auto& thread = const_cast<std::thread&>(thread_);
  if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0) return 0;
  if (clock_gettime(clock, &time) != 0) return 0;
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

// ---- the vCPU's own thread ----------------------------------------------------------------------

void VcpuThread::Main() noexcept {
  BlockSignalsButKick();
  if (environment_.permit != nullptr) {
    timed_vcpu = vcpu_.get();
    const MutexLock lock(mutex_);
    tid_ = gettid();
    changed_.notify_all();
  }
  State state = State::kPaused;
  while (state != State::kFinished) {
    state = state == State::kRunning ? Running() : Paused();
  }
  const MutexLock lock(mutex_);
  state_ = State::kFinished;
  changed_.notify_all();
}

// state_ changes in the same critical section that reads wanted_, so that nobody sees a vCPU as
// paused which is about to run.
VcpuThread::State VcpuThread::Paused() {
  const MutexLock lock(mutex_);
  state_ = State::kPaused;
  changed_.notify_all();
  while (wanted_ == State::kPaused) {
    if (task_ != nullptr) RunTask();
    changed_.wait(mutex_);
  }
  state_ = wanted_;
  if (state_ == State::kRunning) vcpu_->NotePaused();
  changed_.notify_all();
  return state_;
}

// With the lock held: whoever waits for it waits for the task anyway.
void VcpuThread::RunTask() {
  task_->result = task_->run(*vcpu_);
  task_ = nullptr;
  changed_.notify_all();
}

// Requests are looked at only when KVM_RUN says EINTR, since only then is the last access complete.
VcpuThread::State VcpuThread::Running() {
  if (!Permitted()) return Park();
  for (;;) {
    const Exit exit = vcpu_->RunOnce(*environment_.ports, *environment_.memory);
    Count(exit);
    LookForUserSpace();
    switch (exit) {
      case Exit::kPortRead:
      case Exit::kPortWrite:
      case Exit::kMmioRead:
      case Exit::kMmioWrite:
      case Exit::kOther:
        continue;
      case Exit::kInterrupted: {
        const State next = TakeRequest();
        if (next != State::kRunning) return next;
        if (!Permitted()) return Park();
        continue;
      }
      case Exit::kTripleFault:
      case Exit::kSystemReset:
      case Exit::kSystemShutdown:
      case Exit::kFailed:
        Report(exit);
        return Park();
    }
  }
}

VcpuThread::State VcpuThread::TakeRequest() {
  const MutexLock lock(mutex_);
  vcpu_->ClearExitRequest();
  return wanted_;
}

// Asked after TakeRequest has cleared immediate_exit: a timer that fired before that is seen here, by
// the clock; one that fires later sets it again.
bool VcpuThread::Permitted() {
  if (environment_.permit == nullptr) return true;
  if (!environment_.permit->Holds()) return false;
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t at = environment_.permit->AskAgainAtNs();
  itimerspec when{};
  when.it_value = {at / kSecond, at % kSecond};
  CHECK(timer_settime(*timer_, TIMER_ABSTIME, &when, nullptr) == 0);
  return true;
}

// Nobody asked for this pause, unless somebody did meanwhile.
VcpuThread::State VcpuThread::Park() {
  const MutexLock lock(mutex_);
  vcpu_->ClearExitRequest();
  if (wanted_ == State::kRunning) wanted_ = State::kPaused;
  return wanted_;
}

void VcpuThread::Report(Exit exit) {
  VcpuEvents& events = *environment_.events;
  switch (exit) {
    case Exit::kTripleFault:
      events.OnTripleFault(id_, vcpu_->DumpRegisters());
      break;
    case Exit::kSystemReset:
      events.OnSystemReset(id_);
      break;
    case Exit::kSystemShutdown:
      events.OnSystemShutdown(id_);
      break;
    default:
      events.OnFailure(id_, vcpu_->FailureReason(), vcpu_->DumpRegisters());
  }
}

// A system call each sixteenth exit, and none any more once the guest is up.
void VcpuThread::LookForUserSpace() {
  if (user_space_seen_.load(std::memory_order_relaxed) || until_look_-- > 0) return;
  constexpr std::uint32_t kExitsBetweenLooks = 15;
  until_look_ = kExitsBetweenLooks;
  if (vcpu_->HasUserThreadPointer()) user_space_seen_.store(true, std::memory_order_relaxed);
}

// One writer: no locked instruction needed.
void VcpuThread::Count(Exit exit) {
  std::atomic<std::uint64_t>& counter = exits_[static_cast<std::size_t>(exit)];
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace gemel::kvm
