// HostNetworks on a thread of its own, so that nobody waits for the kernel or a server to start.
#pragma once
#include <functional>
#include <memory>
#include <thread>

#include "base/event_loop.h"
#include "base/result.h"
#include "hostnet/host_networks.h"

namespace gemel::hostnet {

class NetworkThread {
 public:
  using Make = std::function<Result<std::unique_ptr<HostNetworks>>(EventLoop* loop)>;
  using Task = std::function<void(HostNetworks& networks)>;

  // `make` is called before the thread runs: OpenHost, and HostNetworks of it.
  static Result<std::unique_ptr<NetworkThread>> Start(const Make& make);
  // Waits for the task in progress; later ones are dropped. No network ends by this.
  ~NetworkThread();

  // Runs `task` there, in order. Any thread; never blocks. An answer is posted back by the task.
  void Post(Task task);

 private:
  NetworkThread() = default;

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<HostNetworks> networks_;  // before the loop goes
  std::thread thread_;
};

}  // namespace gemel::hostnet
