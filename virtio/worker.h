// One device's thread: takes an activation over from the transport, calls the device for each kick,
// and hands the activation back when the last request is done.
//
//   Idle ── Activate ──▶ Started ── Reset ──▶ Stopping ── the client's `stopped` ──▶ Idle, then
//   `done`
//
// The device implements Client and forwards VirtioDevice's Activate and Reset here. The thread
// starts with the worker, which is made before any vCPU runs: started from an Activate it would
// inherit the vCPU thread's seccomp filter and priority.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "base/permit.h"
#include "base/result.h"
#include "base/thread.h"
#include "virtio/device.h"
#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {

class Worker {
 public:
  // The device's half. All calls come on the worker's thread.
  class Client {
   public:
    virtual ~Client() = default;
    // The driver is ready. `activation` and its queues stay where they are until OnStop's `stopped`
    // has run. OnKick for each queue follows.
    virtual void OnStart(Activation& activation) = 0;
    // The driver has kicked `queue`. Must bound the work it does in one call, so that a guest
    // cannot keep the thread from a reset: KickAgain asks for another turn.
    virtual void OnKick(ActiveQueue& queue) = 0;
    // No further OnKick comes. Calls `stopped` once, on this thread, now or when all that is in
    // flight has ended and its chains are gone (base/gate.h: Close(stopped)). The activation is
    // dropped then.
    virtual void OnStop(std::function<void()> stopped) = 0;

    // With a permit, base/permit.h: Member.
    virtual std::size_t Outstanding() const { return 0; }
    virtual void OnPermitOver() {}
    virtual void OnPermitRenewed() {}
  };

  // Starts the thread `name`; `role` is what it may ask of the kernel in a sandbox. `client`
  // outlives the worker: a device that is its own client declares its worker as the last member.
  // Without `permit` holding (it outlives the worker; null: always) neither kicks nor watched
  // descriptors are served; but those of a kDisk are, since its backend asks by itself.
  static Result<std::unique_ptr<Worker>> Create(std::string name, Client* client,
                                                ThreadRole role = ThreadRole::kWorker,
                                                Permit* permit = nullptr);
  // Ends and joins the thread. REQUIRES: not started, or Reset's `done` has run, which is checked.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // VirtioDevice::Activate and Reset. Any thread; neither waits.
  Status Activate(Activation activation);
  void Reset(std::function<void()> done);

  // ---- on the worker's thread only
  // ---------------------------------------------------------------- Lets the client watch
  // completion descriptors. Posting to it is for any thread.
  EventLoop& loop() { return *loop_; }
  // OnKick(queue) again after other events have had their turn.
  static void KickAgain(const ActiveQueue& queue) { queue.kick->Signal(); }
  // The driver broke `queue`: one log line, DEVICE_NEEDS_RESET (2.1.2), and no further OnKick until
  // the device is started again. Chains in flight end as usual.
  void Break(const ActiveQueue& queue, QueueError error);
  // True from Break to the end of the activation.
  bool broken() const { return broken_; }

 private:
  Worker(std::string name, Client* client, std::unique_ptr<EventLoop> loop);
  void Start(Activation activation);
  void Stop(std::function<void()> done);
  void Stopped();
  void StopKicks();

  const std::string name_;
  Client* const client_;
  std::unique_ptr<EventLoop> loop_;

  // The worker's thread's alone.
  std::optional<Activation> activation_;
  std::vector<std::function<void()>> on_stopped_;  // who waits; not empty while stopping
  bool broken_ = false;

  std::thread thread_;
};

}  // namespace gemel::virtio
