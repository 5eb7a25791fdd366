#include "grpc/network_host.h"

#include <utility>

namespace gemel::daemon {
namespace {

using hostnet::HostNetworks;
using hostnet::NetworkSpec;
using hostnet::PortSpec;

NetworkReport ReportOf(const HostNetworks& networks, Result<std::vector<hostnet::Repair>> repairs) {
  NetworkReport report;
  if (!repairs) {
    report.looked = std::unexpected(std::move(repairs).error());
    return report;
  }
  report.repairs = std::move(*repairs);
  for (const NetworkSpec& network : networks.networks())
    if (std::string problem = networks.Problem(network.uid); !problem.empty())
      report.problems[network.uid] = std::move(problem);
  return report;
}

Result<NetFds> OpenOne(HostNetworks& networks, const PortSpec& port) {
  RETURN_IF_ERROR(networks.PutPort(port));
  NetFds fds;
  auto queues = networks.OpenPort(port.uid);
  if (!queues && queues.error().code == Code::kAlreadyExists) {
    // Of a process that somebody is about to end: it has no machine any more.
    RETURN_IF_ERROR(networks.RemovePort(port.uid));
    RETURN_IF_ERROR(networks.PutPort(port));
    queues = networks.OpenPort(port.uid);
  }
  if (!queues) return std::unexpected(std::move(queues).error());
  fds.queues = std::move(*queues);
  return fds;
}

Result<std::vector<NetFds>> OpenAll(HostNetworks& networks, const std::vector<PortSpec>& ports) {
  std::vector<NetFds> opened;
  for (const PortSpec& port : ports) {
    auto fds = OpenOne(networks, port);
    if (!fds) {
      opened.clear();
      // What cannot be taken back now, the next Reconcile does.
      for (const PortSpec& other : ports) static_cast<void>(networks.RemovePort(other.uid));
      return std::unexpected(std::move(fds).error());
    }
    opened.push_back(std::move(*fds));
  }
  return opened;
}

class ThreadNetworkHost final : public NetworkHost {
 public:
  ThreadNetworkHost(hostnet::Names names, EventLoop* loop)
      : names_(std::move(names)), loop_(loop) {}

  Status Begin(const std::string& state_dir, const std::string& run_dir) {
    ASSIGN_OR_RETURN(thread_,
                     hostnet::NetworkThread::Start(
                         [&](EventLoop* networks_loop) -> Result<std::unique_ptr<HostNetworks>> {
                           ASSIGN_OR_RETURN(hostnet::Host host,
                                            hostnet::OpenHost({run_dir}, networks_loop));
                           return std::make_unique<HostNetworks>(
                               HostNetworks::Options{names_, state_dir}, std::move(host));
                         }));
    return {};
  }

  std::string BridgeOf(const NetworkSpec& network) const override {
    return network.host() != nullptr ? network.host()->interface : names_.Bridge(network.uid);
  }
  std::string TapOf(const std::string& port_uid) const override { return names_.Tap(port_uid); }

  void Adopt(std::vector<NetworkSpec> wanted, std::vector<PortSpec> ports, Reported done) override {
    thread_->Post([loop = loop_, wanted = std::move(wanted), ports = std::move(ports),
                   done = std::move(done)](HostNetworks& networks) {
      Result<std::vector<hostnet::Repair>> nothing;
      if (const Status adopted = networks.Adopt(wanted, ports); !adopted)
        nothing = std::unexpected(adopted.error());
      loop->Post([done, report = ReportOf(networks, std::move(nothing))] { done(report); });
    });
  }
  void PutNetwork(NetworkSpec network, Done done) override {
    thread_->Post([loop = loop_, network = std::move(network),
                   done = std::move(done)](HostNetworks& networks) {
      loop->Post([done, status = networks.PutNetwork(network)] { done(status); });
    });
  }
  void RemoveNetwork(std::string uid, Done done) override {
    thread_->Post(
        [loop = loop_, uid = std::move(uid), done = std::move(done)](HostNetworks& networks) {
          loop->Post([done, status = networks.RemoveNetwork(uid)] { done(status); });
        });
  }
  void OpenPorts(std::vector<PortSpec> ports, Opened done) override {
    thread_->Post(
        [loop = loop_, ports = std::move(ports), done = std::move(done)](HostNetworks& networks) {
          // Shared, since closures are copied; only one of them uses it.
          auto opened = std::make_shared<Result<std::vector<NetFds>>>(OpenAll(networks, ports));
          loop->Post([done, opened] { done(*opened); });
        });
  }
  void ClosePorts(std::string owner) override {
    // What cannot be taken away now, the next Reconcile does.
    thread_->Post([owner = std::move(owner)](HostNetworks& networks) {
      static_cast<void>(networks.RemovePortsOf(owner));
    });
  }
  void Check(Reported done) override {
    thread_->Post([loop = loop_, done = std::move(done)](HostNetworks& networks) {
      loop->Post([done, report = ReportOf(networks, networks.Check())] { done(report); });
    });
  }
  void Leases(std::string network_uid,
              std::function<void(const Result<std::vector<hostnet::Lease>>&)> done) override {
    thread_->Post([loop = loop_, uid = std::move(network_uid),
                   done = std::move(done)](HostNetworks& networks) {
      loop->Post([done, leases = networks.Leases(uid)] { done(leases); });
    });
  }

 private:
  const hostnet::Names names_;
  EventLoop* const loop_;
  std::unique_ptr<hostnet::NetworkThread> thread_;
};

}  // namespace

Result<std::unique_ptr<NetworkHost>> OpenNetworkHost(const std::string& state_dir,
                                                     const std::string& run_dir, EventLoop* loop) {
  ASSIGN_OR_RETURN(hostnet::Names names, hostnet::Names::Create(hostnet::PrefixFor(state_dir)));
  auto host = std::make_unique<ThreadNetworkHost>(std::move(names), loop);
  RETURN_IF_ERROR(host->Begin(state_dir, run_dir));
  return host;
}

}  // namespace gemel::daemon
