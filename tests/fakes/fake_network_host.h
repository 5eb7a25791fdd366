// A NetworkHost without a host: what is wanted is kept, answers come on the loop, and a test decides
// what fails and what a look finds.
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grpc/network_host.h"

namespace gemel::testing {

class FakeNetworkHost final : public daemon::NetworkHost {
 public:
  explicit FakeNetworkHost(EventLoop* loop) : loop_(loop) {}

  std::string BridgeOf(const hostnet::NetworkSpec& network) const override {
    return network.host() != nullptr ? network.host()->interface : "br-" + network.uid;
  }
  std::string TapOf(const std::string&) const override { return "tap"; }
  void Adopt(std::vector<hostnet::NetworkSpec> wanted, std::vector<hostnet::PortSpec> kept,
             Reported done) override {
    networks = std::move(wanted);
    ports = std::move(kept);
    loop_->Post([done = std::move(done), found = report] { done(found); });
  }
  void PutNetwork(hostnet::NetworkSpec network, Done done) override {
    const auto failed = Take();
    if (!failed) {
      std::erase_if(networks, [&](const auto& other) { return other.uid == network.uid; });
      networks.push_back(std::move(network));
    }
    Answer(std::move(done), failed);
  }
  void RemoveNetwork(std::string uid, Done done) override {
    const auto failed = Take();
    if (!failed) std::erase_if(networks, [&](const auto& other) { return other.uid == uid; });
    Answer(std::move(done), failed);
  }
  void OpenPorts(std::vector<hostnet::PortSpec> wanted, Opened done) override {
    const auto failed = Take();
    auto opened = std::make_shared<Result<std::vector<NetFds>>>();
    if (failed) {
      *opened = std::unexpected(*failed);
    } else {
      for (hostnet::PortSpec& port : wanted) {
        (*opened)->emplace_back().queues.resize(port.queues);
        ports.push_back(std::move(port));
      }
    }
    loop_->Post([done = std::move(done), opened] { done(*opened); });
  }
  void ClosePorts(std::string owner) override {
    std::erase_if(ports, [&](const auto& port) { return port.uid.starts_with(owner + "/"); });
  }
  void Check(Reported done) override {
    loop_->Post([done = std::move(done), found = report] { done(found); });
  }
  void Leases(std::string,
              std::function<void(const Result<std::vector<hostnet::Lease>>&)> done) override {
    loop_->Post([done = std::move(done), found = leases] { done(found); });
  }

  std::vector<hostnet::NetworkSpec> networks;  // as the host has them
  std::vector<hostnet::PortSpec> ports;
  std::vector<hostnet::Lease> leases;
  daemon::NetworkReport report;  // of Adopt and Check
  std::optional<Error> error;    // of the next change

 private:
  std::optional<Error> Take() { return std::exchange(error, std::nullopt); }
  void Answer(Done done, const std::optional<Error>& failed) {
    loop_->Post([done = std::move(done), failed] {
      done(failed ? Status(std::unexpected(*failed)) : Status());
    });
  }

  EventLoop* const loop_;
};

}  // namespace gemel::testing
