// The thread that runs a vCPU, and the only thing others hold of it.
//
//            Resume()                       Stop(), from either
//   Paused ────────────▶ Running            ───────────────────▶ Finished
//          ◀────────────
//   Pause(); or by itself after a triple fault, failure or system event, which it reports; or by
//   itself because its permit is over
#pragma once
#include <sys/types.h>
#include <time.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/permit.h"
#include "base/result.h"
#include "vmm/kvm/vcpu.h"

namespace gemel::kvm {

// What a guest does to a whole machine. Called on vCPU threads, which pause by themselves after it:
// hand over and return, and never call into a VcpuThread.
class VcpuEvents {
 public:
  virtual ~VcpuEvents() = default;
  // `report`: registers and code, several lines.
  virtual void OnTripleFault(std::uint32_t vcpu, std::string report) = 0;
  // KVM cannot run the guest. `reason` is one line.
  virtual void OnFailure(std::uint32_t vcpu, std::string reason, std::string report) = 0;
  virtual void OnSystemReset(std::uint32_t vcpu) = 0;
  virtual void OnSystemShutdown(std::uint32_t vcpu) = 0;
};

// Everything is owned by the caller and outlives the thread.
struct VcpuEnvironment {
  const IoBus* ports = nullptr;
  const IoBus* memory = nullptr;
  VcpuEvents* events = nullptr;
  // Or none. Without it holding, the vCPU neither enters the guest nor serves what it asks for: it
  // pauses by itself, by a timer of its own thread, whatever becomes of all other threads. Resume is
  // then in vain until the permit was renewed.
  Permit* permit = nullptr;
};

// Its methods may be called by any thread but the vCPU's own.
class VcpuThread {
 public:
  // Starts a thread named vcpu-<id>, paused. Takes SIGRTMIN for the whole process, with a handler
  // that does nothing.
  // kUnavailable or kResourceExhausted if the host gives no thread.
  static Result<std::unique_ptr<VcpuThread>> Start(std::unique_ptr<Vcpu> vcpu,
                                                   VcpuEnvironment environment);
  // Stops.
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  std::uint32_t id() const { return id_; }

  void Resume() EXCLUDES(mutex_);
  // Returns when the vCPU is out of the guest and the access it may have been at is complete. To
  // pause several vCPUs at once, RequestPause all, then WaitPaused for each.
  void Pause() EXCLUDES(mutex_);
  void RequestPause() EXCLUDES(mutex_);
  void WaitPaused() EXCLUDES(mutex_);
  // Ends the thread. The vCPU is not usable any more. May be called twice.
  void Stop() EXCLUDES(mutex_);

  // Runs `task` on the vCPU's thread, where KVM wants its ioctls, and returns when it is done.
  // kFailedPrecondition if the vCPU is not paused.
  Status RunPaused(std::function<Status(Vcpu&)> task) EXCLUDES(mutex_);

  // Whether a user program was seen on this vCPU since it last began: a sample of its exits, so
  // that a short life may go unseen. docs/decisions/001-what-a-triple-fault-means.md. Any thread.
  bool user_space_seen() const { return user_space_seen_.load(std::memory_order_relaxed); }
  // The machine begins anew.
  void ForgetUserSpace() { user_space_seen_.store(false, std::memory_order_relaxed); }

  // How often each kind of exit came; how `gemel` shows what a guest does. Any thread, any time.
  std::array<std::uint64_t, kExitKinds> exit_counts() const;
  // CPU time of its thread, in the guest and outside; 0 once it has ended. On the owner's thread.
  std::uint64_t cpu_ns() const;

 private:
  enum class State : std::uint8_t { kPaused, kRunning, kFinished };
  struct PausedTask {
    std::function<Status(Vcpu&)> run;
    std::optional<Status> result;
  };

  VcpuThread(std::unique_ptr<Vcpu> vcpu, VcpuEnvironment environment);
  void Main() noexcept;
  State Paused() EXCLUDES(mutex_);
  State Running() EXCLUDES(mutex_);
  void RunTask() REQUIRES(mutex_);
  State TakeRequest() EXCLUDES(mutex_);
  State Park() EXCLUDES(mutex_);
  Status CreateTimer() EXCLUDES(mutex_);
  bool Permitted();
  void Want(State state) REQUIRES(mutex_);
  void Report(Exit exit);
  void Count(Exit exit);
  void LookForUserSpace();

  const std::uint32_t id_;
  const std::unique_ptr<Vcpu> vcpu_;  // the thread's, but for RequestExit
  const VcpuEnvironment environment_;
  std::array<std::atomic<std::uint64_t>, kExitKinds> exits_{};

  std::atomic<bool> user_space_seen_{false};
  std::uint32_t until_look_ = 0;  // exits; the thread's own

  Mutex mutex_;
  std::condition_variable_any changed_;
  State state_ GUARDED_BY(mutex_) = State::kPaused;   // what the thread does
  State wanted_ GUARDED_BY(mutex_) = State::kPaused;  // what its owner asked for
  PausedTask* task_ GUARDED_BY(mutex_) = nullptr;     // on its caller's stack
  pid_t tid_ GUARDED_BY(mutex_) = 0;                  // once the thread runs
  std::optional<timer_t> timer_;  // signals the thread when to ask the permit again
  std::thread thread_;
};

}  // namespace gemel::kvm
