// The host networks of a node: what is wanted of them, and the one way in which the host is made so.
// Bridges with NAT, DHCP and DNS of our own, ports of them and of the administrator's bridges.
//
// Everything goes through Reconcile, which compares what is wanted with what is there and changes
// only what differs; doing it twice changes nothing. It keeps no record of what it has made:
// interfaces and tables are known by their names (hostnet/names.h), servers by their command line, so
// that a daemon killed at any step leaves nothing that the next Reconcile does not find. A tap lasts
// as long as the descriptors of it, that is, as long as its machine's process.
//
// One thread, that of the EventLoop. Calls may take some milliseconds for each network, and up to ten
// seconds where a server does not start: give it a thread of its own. Of the host's network nothing
// else is touched, but for forwarding (hostnet/sysctls.h).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hostnet/firewall.h"
#include "hostnet/links.h"
#include "hostnet/name_servers.h"
#include "hostnet/names.h"
#include "hostnet/spec.h"
#include "hostnet/sysctls.h"

namespace gemel::hostnet {

// The host, as four interfaces.
struct Host {
  std::unique_ptr<Links> links;
  std::unique_ptr<Firewall> firewall;
  std::unique_ptr<Sysctls> sysctls;
  std::unique_ptr<NameServers> name_servers;
};

// The real one, in the network namespace of this thread. `state_dir` and `run_dir` are there.
struct HostOptions {
  std::string run_dir;  // others may pass (0711); servers' files are in <run_dir>/networks
  std::string dnsmasq = "/usr/sbin/dnsmasq";
};
Result<Host> OpenHost(const HostOptions& options, EventLoop* loop);

// Something that was not as it had been left.
struct Repair {
  std::string network;  // its uid; empty: what all have in common
  std::string what;     // for a person
};

class HostNetworks {
 public:
  struct Options {
    Names names;
    std::string state_dir;  // "forwarding" in it says what to put back
  };

  HostNetworks(Options options, Host host);

  // What is wanted, as a whole: at the start of a daemon, before anything else. Nothing that is
  // wanted and there is cut or made anew; what nobody wants goes. An error means that the host could
  // not be looked at; of single networks, `Problem` tells.
  Status Adopt(std::vector<NetworkSpec> networks, std::vector<PortSpec> ports);
  // The same for what is wanted now: after something else has changed the host.
  Status Reconcile();
  // Reconcile, and what it had to put back: nothing, as long as nobody else changes what is ours.
  Result<std::vector<Repair>> Check();

  // Makes or changes one. After an error one that is new is gone again, and one that was there is as
  // before. kInvalidArgument: the specification, or a change of its kind or subnet;
  // kFailedPrecondition, kNotFound: what of the host is in its way.
  Status PutNetwork(const NetworkSpec& network);
  // kFailedPrecondition while it has ports. One that is not there is removed.
  Status RemoveNetwork(const std::string& uid);

  // Makes or changes one; its rules are in force when this returns. Errors as of PutNetwork.
  // kAlreadyExists: another port of the network has its address or MAC.
  Status PutPort(const PortSpec& port);
  // Also the interface, if a machine still has it.
  Status RemovePort(const std::string& uid);
  // All whose uid is "<owner>/…".
  Status RemovePortsOf(const std::string& owner);
  // Makes the port's tap, up and in its bridge: one descriptor a queue, the last of which takes the
  // interface with it. kAlreadyExists while it is there, kNotFound if there is no such port.
  Result<std::vector<UniqueFd>> OpenPort(const std::string& uid);

  // What is wrong with a network; empty: nothing.
  std::string Problem(const std::string& network_uid) const;
  // Its interface on the host; empty if there is no such network.
  std::string BridgeOf(const std::string& network_uid) const;
  std::string TapOf(const std::string& port_uid) const { return options_.names.Tap(port_uid); }
  Result<std::vector<Lease>> Leases(const std::string& network_uid);
  const std::vector<NetworkSpec>& networks() const { return networks_; }
  const std::vector<PortSpec>& ports() const { return ports_; }

 private:
  NetworkSpec* FindNetwork(const std::string& uid);
  PortSpec* FindPort(const std::string& uid);
  Status CheckFree(const NetworkSpec& network);
  Status CheckFree(const PortSpec& port) const;
  // Reconciles and gives what concerns this network; if that is an error, undoes by `undo`.
  Status ReconcileOr(const std::string& network_uid, const std::function<void()>& undo);

  Status RemoveUnwanted(const std::vector<Link>& links);
  Status PutRules();
  Status PutForwarding();
  void Note(const std::string& network_uid, std::string what);
  Status MakeNetworks();
  Status MakeManaged(const NetworkSpec& network, const std::vector<Link>& links);
  Status SetUpBridge(const NetworkSpec& network, const Link& bridge);
  Status FillPorts(const NetworkSpec& network, const std::vector<Link>& links);
  Status MakePort(const PortSpec& port, const Link& tap, const Link& bridge);
  Status Serve(const NetworkSpec& network, const Link& bridge);
  Result<Link> FindBridge(const NetworkSpec& network, const std::vector<Link>& links) const;

  Options options_;
  Host host_;
  Forwarding forwarding_;
  std::vector<NetworkSpec> networks_;
  std::vector<PortSpec> ports_;
  std::map<std::string, Error> problems_;  // by uid of the network
  std::string rules_;                      // as they were given to the kernel
  std::string rules_read_;                 // as it told them afterwards
  bool checking_ = false;
  std::vector<Repair> repairs_;
};

}  // namespace gemel::hostnet
