// Networks that are there: found again when the daemon starts, and looked at now and then, since others
// may change the host.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "grpc/convert_network.h"
#include "grpc/network_host.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kCheckMs = 5000;
// The same repair is told again after this: somebody may undo it each time.
constexpr std::int64_t kToldNs = 60ll * 1'000'000'000;

}  // namespace

void VmManager::LoadNetworks(std::vector<v1::Network> networks) {
  for (v1::Network& network : networks) {
    published_->networks.Put(network.name(), network);
    networks_[network.name()] = std::move(network);
  }
}

// Everything that shall be there, once it is known which machines run; what is half made or half
// taken away is not among it, and is done anew.
void VmManager::AdoptNetworks(const Adoption& adoption) {
  if (options_.networks == nullptr) return;
  std::vector<hostnet::NetworkSpec> wanted;
  std::vector<hostnet::PortSpec> ports;
  for (const auto& [name, network] : networks_) {
    if (!IsThere(network)) continue;
    if (auto spec = ToNetworkSpec(network, "network")) wanted.push_back(std::move(*spec));
  }
  for (const AdoptedVm& found : adoption.vms) {
    const Vm* const vm = FindUid(found.uid);
    if (vm == nullptr || found.state != AdoptedVm::State::kLive) continue;
    for (hostnet::PortSpec& port : PortsOf(vm->stored.vm, vm->stored.running_spec))
      ports.push_back(std::move(port));
  }
  options_.networks->Adopt(std::move(wanted), std::move(ports),
                           [this, alive = std::weak_ptr(alive_)](const NetworkReport& report) {
                             if (alive.expired()) return;
                             SettleNetworks(report);
                             EndNetworkUpdates();
                           });
  for (const auto& [name, network] : networks_) PursueNetwork(name);
  CheckNetworksLater();
}

// Changes that an earlier daemon had begun: the host is as the records say by now.
void VmManager::EndNetworkUpdates() {
  Batch batch;
  for (const auto& [operation_name, operation] : operations_) {
    const auto network = networks_.find(operation.metadata().target());
    if (operation.done() || network == networks_.end() || !IsThere(network->second) ||
        network_updates_.contains(network->first))
      continue;
    if (network->second.message().empty())
      EndOperation(batch, operation, network->second);
    else
      EndOperation(
          batch, operation,
          MakeApiError(Code::kFailedPrecondition, reason::kHostRefused, network->second.message()));
  }
  if (batch.put_operations.empty() || Commit(std::move(batch))) return;
  timers_->After(kRetryMs, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) EndNetworkUpdates();
  });
}

void VmManager::CheckNetworksLater() {
  if (network_timer_ || networks_.empty()) return;
  network_timer_ = timers_->After(kCheckMs, [this] {
    network_timer_.reset();
    if (networks_.empty()) return;
    options_.networks->Check([this, alive = std::weak_ptr(alive_)](const NetworkReport& report) {
      if (alive.expired()) return;
      SettleNetworks(report);
      CheckNetworksLater();
    });
  });
}

void VmManager::SettleNetworks(const NetworkReport& report) {
  Batch batch;
  for (const auto& [name, network] : networks_) {
    if (!IsThere(network) || network_updates_.contains(name)) continue;
    const auto problem = report.problems.find(network.uid());
    const std::string message = !report.looked ? Printable(report.looked.error().message)
                                : problem == report.problems.end() ? std::string()
                                                                   : Printable(problem->second);
    if (message == network.message()) continue;
    v1::Network next = network;
    next.set_message(message);
    next.set_state(message.empty() ? v1::NETWORK_STATE_READY : v1::NETWORK_STATE_FAILED);
    AddNetworkEvent(batch, v1::EVENT_TYPE_NETWORK_CHANGED, next,
                    message.empty() ? "NETWORK_READY" : "NETWORK_FAILED", message, nullptr);
    batch.put_networks.push_back(std::move(next));
  }
  for (const hostnet::Repair& repair : report.repairs) AddRepair(batch, repair);
  // What could not be stored is seen again at the next look, but for what was repaired.
  if (!batch.events.empty()) static_cast<void>(Commit(std::move(batch)));
}

void VmManager::AddRepair(Batch& batch, const hostnet::Repair& repair) {
  const std::int64_t now = clock_->MonotonicNow();
  std::erase_if(repairs_told_, [&](const auto& told) { return now - told.second > kToldNs; });
  if (!repairs_told_.emplace(repair.network + " " + repair.what, now).second) return;
  v1::Network of;
  of.set_name("nodes/" + options_.node);  // what all networks have in common
  for (const auto& [name, network] : networks_)
    if (network.uid() == repair.network) of = network;
  LOG(kWarning, "networks", "{}: {}: put back", of.name(), repair.what);
  AddNetworkEvent(batch, v1::EVENT_TYPE_NETWORK_CHANGED, of, "NETWORK_REPAIRED",
                  repair.what + ": put back", nullptr);
}

}  // namespace gemel::daemon
