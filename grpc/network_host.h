// The host's networks as the manager asks for them (hostnet/host_networks.h): what it asks is done in
// order, on a thread of its own, and answered on the manager's loop. Nobody waits for a kernel or a
// server to start.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "hostnet/network_thread.h"
#include "vmm/config/net_fds.h"

namespace gemel::daemon {

// What a look at the host has found.
struct NetworkReport {
  Status looked;                                // else nothing else is known
  std::map<std::string, std::string> problems;  // what is wrong, by uid of the network
  std::vector<hostnet::Repair> repairs;         // what somebody had changed, and is as before
};

class NetworkHost {
 public:
  using Done = std::function<void(const Status&)>;
  using Reported = std::function<void(const NetworkReport&)>;
  // One of a port each; the callback may take them.
  using Opened = std::function<void(Result<std::vector<NetFds>>& ports)>;

  virtual ~NetworkHost() = default;

  // Names of interfaces, whether they are there or not. Any thread.
  virtual std::string BridgeOf(const hostnet::NetworkSpec& network) const = 0;
  virtual std::string TapOf(const std::string& port_uid) const = 0;

  // As of HostNetworks. Ports are those of machines that run.
  virtual void Adopt(std::vector<hostnet::NetworkSpec> networks,
                     std::vector<hostnet::PortSpec> ports, Reported done) = 0;
  virtual void PutNetwork(hostnet::NetworkSpec network, Done done) = 0;
  virtual void RemoveNetwork(std::string uid, Done done) = 0;
  // Makes the ports of a machine that has no process, all or none. A tap of one of them that is
  // still there is nobody's, and goes.
  virtual void OpenPorts(std::vector<hostnet::PortSpec> ports, Opened done) = 0;
  // Those of "<owner>/…".
  virtual void ClosePorts(std::string owner) = 0;
  virtual void Check(Reported done) = 0;
  virtual void Leases(std::string network_uid,
                      std::function<void(const Result<std::vector<hostnet::Lease>>&)> done) = 0;
};

// The real one, in the network namespace of the calling thread. `state_dir` names the interfaces
// (hostnet::PrefixFor). `loop` outlives it; answers that come after its end are dropped there.
Result<std::unique_ptr<NetworkHost>> OpenNetworkHost(const std::string& state_dir,
                                                     const std::string& run_dir, EventLoop* loop);

}  // namespace gemel::daemon
