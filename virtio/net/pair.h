// One pair of queues of a network device and the thread that serves it: receives, sends, waits for
// what each of them waits for. The first pair's thread also has the control queue.
//
//   backend readable ─▶ receiver ──▶ driver's buffers, interrupt
//   transmit kick ────▶ transmitter ─▶ backend
//   no buffers / no room / over the limit: the event that ends it is waited for, nothing polls
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_fd.h"
#include "base/mac_address.h"
#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_backend.h"
#include "virtio/device.h"
#include "virtio/net/control.h"
#include "virtio/net/counters.h"
#include "virtio/net/receiver.h"
#include "virtio/net/transmitter.h"
#include "virtio/net/vhost.h"
#include "virtio/worker.h"

namespace gemel::virtio {

// What a pair asks of its device. On the pair's thread.
class NetPairOwner {
 public:
  virtual ~NetPairOwner() = default;
  // The state to work by from now on.
  struct View {
    NetSettings settings;
    bool link_up = true;
  };
  virtual View Look() = 0;
  // The pair `index` was started, and the others are or will be.
  virtual void OnPairStarted(std::uint16_t index, Activation& activation) = 0;
  virtual void OnPairStopped(std::uint16_t index) = 0;
  // Pair 0 alone: the driver kicked the control queue. May look at all pairs' settings again.
  virtual void OnControl(ActiveQueue& queue) = 0;
  // Pair 0 alone: somebody came to, or left, the other end.
  virtual void OnConnected(bool connected) = 0;
};

class NetPair : public Worker::Client {
 public:
  struct Options {
    std::string name;  // of the thread and in log lines: "net0", "net0.1"
    std::uint16_t index = 0;
    std::unique_ptr<net::NetBackend> backend;
    std::unique_ptr<net::VhostNet> vhost;  // or none: moves the frames in the pair's stead
    net::RateLimit rx_limit, tx_limit;
    const Clock* clock = nullptr;          // outlives the pair
    NetPairOwner* owner = nullptr;         // the same
    Permit* permit = nullptr;              // the same
    std::optional<MacAddress> announce{};  // where that is, is told when the driver begins
  };
  static Result<std::unique_ptr<NetPair>> Create(Options options);

  // Any thread. `activation` has this pair's queues (and the control queue).
  Status Activate(Activation activation) { return worker_->Activate(std::move(activation)); }
  void Reset(std::function<void()> done) { worker_->Reset(std::move(done)); }
  // Makes the pair look at its owner's state again. Any thread; however often it is called, one look
  // is queued.
  void Poke();
  const NetCounters& counters() const { return counters_; }
  net::NetBackend& backend() { return *backend_; }
  Worker& worker() { return *worker_; }

  void OnStart(Activation& activation) override;
  void OnKick(ActiveQueue& queue) override;
  void OnStop(std::function<void()> stopped) override;
  // The host's end shows no carrier meanwhile; the driver sees nothing.
  void OnPermitOver() override;
  void OnPermitRenewed() override;

 private:
  explicit NetPair(Options options);
  Status CreateTimers();
  bool StartVhost(Activation& activation);
  void StartPumps(Activation& activation);
  Status WatchAll();
  void RunVhost(bool running);
  void Refresh();
  void Announce();
  void OnBackend(std::uint32_t events);
  void RunReceiver();
  void RunTransmitter();
  void Close();
  void Break(ActiveQueue& queue, QueueError error);
  void UpdateInterest();
  void CheckConnection();

  const std::string name_;
  const std::uint16_t index_;
  NetPairOwner* const owner_;
  Permit* const permit_;
  const std::optional<MacAddress> announce_;
  const std::unique_ptr<net::NetBackend> backend_;
  std::optional<NetVhost> vhost_;
  NetCounters counters_;
  NetReceiver receiver_;
  NetTransmitter transmitter_;
  UniqueFd rx_timer_, tx_timer_;  // only where there is a limit
  std::atomic<bool> poked_{false};

  // The worker's thread's alone.
  ActiveQueue* rx_queue_ = nullptr;
  ActiveQueue* tx_queue_ = nullptr;
  bool active_ = false;   // started, and among the pairs that the driver uses
  bool watched_ = false;  // the backend's descriptor is in the loop
  bool connected_;        // as the owner was last told; it began with what the backend said
  std::uint32_t interest_ = 0;
  NetReceiver::State rx_state_ = NetReceiver::State::kWaiting;
  NetTransmitter::State tx_state_ = NetTransmitter::State::kWaiting;
  net::Offloads receive_offloads_ = 0;

  std::unique_ptr<Worker> worker_;  // last: calls us until it is joined
};

}  // namespace gemel::virtio
