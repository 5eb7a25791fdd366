// Networks: what calls make of them, and the host that follows (grpc/network_host.h). The record is
// durable before the host is touched, and says CREATING or DELETING until the host is as it says: what
// a daemon did not finish, the next one does.
#include <google/protobuf/empty.pb.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "grpc/convert_network.h"
#include "grpc/field_mask.h"
#include "grpc/labels.h"
#include "grpc/network_host.h"
#include "grpc/resource_name.h"
#include "grpc/uuid.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kNetworks = "networks";

// "managed_bridge.subnet "10.0.0.0/8": …" names its field itself.
ApiError HostError(const Error& error) {
  if (error.code != Code::kInvalidArgument) return FromError(error, reason::kHostRefused);
  return InvalidField(fmt::format("network.{}", error.message.substr(0, error.message.find(' '))),
                      error.message);
}

// What machines on a network rely on.
ApiResult<void> CheckUnchanged(const v1::Network& before, const v1::Network& next) {
  if (next.kind_case() != before.kind_case())
    return std::unexpected(
        InvalidField("network.kind", "cannot be changed", reason::kImmutableField));
  if (next.managed_bridge().subnet() == before.managed_bridge().subnet()) return {};
  return std::unexpected(
      InvalidField("network.managed_bridge.subnet",
                   fmt::format("\"{}\" cannot become \"{}\"", before.managed_bridge().subnet(),
                               next.managed_bridge().subnet()),
                   reason::kImmutableField));
}

bool Names(const v1::VirtualMachineSpec& spec, const std::string& network) {
  return std::any_of(spec.nics().begin(), spec.nics().end(),
                     [&](const v1::NetworkInterface& nic) { return nic.network() == network; });
}

}  // namespace

ApiResult<v1::Network*> VmManager::FindNetwork(const std::string& name, const std::string& etag) {
  if (auto parsed = ParseResourceName("name", kNetworks, name); !parsed)
    return std::unexpected(std::move(parsed).error());
  const auto found = networks_.find(name);
  if (found == networks_.end()) return std::unexpected(ResourceNotFound("network", name));
  if (!etag.empty() && etag != found->second.etag())
    return std::unexpected(MakeApiError(
        Code::kAborted, reason::kEtagMismatch,
        fmt::format("etag \"{}\" is not {}'s, which is \"{}\"", etag, name, found->second.etag())));
  if (!IsThere(found->second) || network_updates_.contains(name))
    return std::unexpected(WrongState(
        name, fmt::format("{} is {}", name,
                          IsThere(found->second) ? "being changed"
                                                 : v1::NetworkState_Name(found->second.state()))));
  return &found->second;
}

std::vector<std::string> VmManager::UsersOfNetwork(const std::string& network) const {
  std::vector<std::string> users;
  for (const auto& [name, vm] : vms_) {
    if (Names(vm.stored.vm.spec(), network) || Names(vm.stored.running_spec, network))
      users.push_back(name);
  }
  return users;
}

void VmManager::AddNetworkEvent(Batch& batch, v1::EventType type, const v1::Network& network,
                                std::string_view reason, std::string_view message,
                                const v1::Operation* operation) const {
  v1::VirtualMachine named;  // what AddEvent takes of a resource: its name and uid
  named.set_name(network.name());
  named.set_uid(network.uid());
  AddEvent(batch, type, named, reason, message, operation);
}

// One that is to be made or changed; it gets its bridge's name.
ApiResult<void> VmManager::CheckNetwork(v1::Network& network) const {
  if (options_.networks == nullptr)
    return std::unexpected(
        MakeApiError(Code::kUnimplemented, reason::kHostRefused, "this node has no networks"));
  if (auto labels = CheckLabels(network.labels(), network.description(), "network"); !labels)
    return std::unexpected(std::move(labels).error());
  auto spec = ToNetworkSpec(network, "network");
  if (!spec) return std::unexpected(std::move(spec).error());
  if (const auto* host = spec->host()) {
    const auto& allowed = options_.host_bridges;
    if (std::find(allowed.begin(), allowed.end(), host->interface) == allowed.end())
      return std::unexpected(
          InvalidField("network.host_bridge.interface",
                       fmt::format("\"{}\" is not one that this node gives to networks: {}",
                                   host->interface, fmt::join(allowed, ", "))));
  }
  network.set_bridge(options_.networks->BridgeOf(*spec));
  return {};
}

// ---- the calls

void VmManager::CreateNetwork(CallInfo call, v1::CreateNetworkRequest request, Reply reply) {
  const auto refuse = [&](ApiError error) { reply(std::unexpected(std::move(error))); };
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  auto project = ParseParent("parent", request.parent(), Wildcard::kRefused);
  if (!project) return refuse(std::move(project).error());
  if (!IsResourceId(request.network_id()))
    return refuse(InvalidField(
        "network_id", fmt::format("\"{}\" is not 1 to 63 of a-z, 0-9 and '-', beginning with a "
                                  "letter",
                                  request.network_id())));
  v1::Network network = request.network();
  network.set_name(MakeResourceName(*project, kNetworks, request.network_id()));
  if (networks_.contains(network.name()))
    return refuse(ResourceExists("network", network.name(), ""));
  network.set_uid(NewUuid());
  network.clear_users();
  network.clear_message();
  network.set_state(v1::NETWORK_STATE_CREATING);
  network.set_etag(RandomHex(16));
  *network.mutable_create_time() = *network.mutable_update_time() = Now();
  if (auto valid = CheckNetwork(network); !valid) return refuse(std::move(valid).error());
  access::Usage more;
  more.networks = 1;
  if (auto quota = CheckQuota(ProjectOf(network.name()), more); !quota)
    return refuse(std::move(quota).error());
  Batch batch;
  const v1::Operation operation = NewOperation(call, *project, network.name(), network.uid());
  AddNetworkEvent(batch, v1::EVENT_TYPE_CREATED, network, "REQUESTED", "", &operation);
  batch.put_networks.push_back(network);
  Finish(call, std::move(batch), operation, reply);
  if (!call.validate_only) PursueNetwork(network.name());
}

void VmManager::UpdateNetwork(CallInfo call, v1::UpdateNetworkRequest request, Reply reply) {
  const auto refuse = [&](ApiError error) { reply(std::unexpected(std::move(error))); };
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  const std::string& name = request.network().name();
  auto found = FindNetwork(name, request.network().etag());
  if (!found) return refuse(std::move(found).error());
  const v1::Network before = **found;
  v1::Network next = before;
  if (auto applied = ApplyMask(request.update_mask(), {"labels", "description", "managed_bridge"},
                               request.network(), next);
      !applied)
    return refuse(std::move(applied).error());
  if (auto same = CheckUnchanged(before, next); !same) return refuse(std::move(same).error());
  if (auto valid = CheckNetwork(next); !valid) return refuse(std::move(valid).error());
  next.set_etag(RandomHex(16));
  *next.mutable_update_time() = Now();
  const bool host =
      next.managed_bridge().SerializeAsString() != before.managed_bridge().SerializeAsString();
  Batch batch;
  const v1::Operation operation =
      NewOperation(call, LastPart(ProjectOf(name)), next.name(), next.uid());
  AddNetworkEvent(batch, v1::EVENT_TYPE_CONFIGURATION_CHANGED, next, "REQUESTED", "", &operation);
  if (!host && !call.validate_only) EndOperation(batch, operation, next);
  batch.put_networks.push_back(next);
  Finish(call, std::move(batch), operation, reply);
  // Not stored, or not to be: nothing follows.
  if (call.validate_only || !host || networks_.at(name).etag() != next.etag()) return;
  network_updates_[name] = before;
  PursueNetwork(name);
}

void VmManager::DeleteNetwork(CallInfo call, v1::DeleteNetworkRequest request, Reply reply) {
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  const v1::Operation operation =
      NewOperation(call, LastPart(ProjectOf(request.name())), request.name(), "");
  Batch batch;
  auto found = FindNetwork(request.name(), request.etag());
  if (!found) {
    if (found.error().code() != static_cast<int>(Code::kNotFound) || !request.allow_missing())
      return reply(std::unexpected(std::move(found).error()));
    if (!call.validate_only) EndOperation(batch, operation, v1::Network());
    return Finish(call, std::move(batch), operation, reply);
  }
  if (const auto users = UsersOfNetwork(request.name()); !users.empty())
    return reply(std::unexpected(
        WrongState(request.name(),
                   fmt::format("{} is a network of {}", request.name(), fmt::join(users, ", ")),
                   reason::kInUse)));
  v1::Network next = **found;
  next.set_state(v1::NETWORK_STATE_DELETING);
  batch.put_networks.push_back(next);
  Finish(call, std::move(batch), operation, reply);
  if (!call.validate_only) PursueNetwork(request.name());
}

void VmManager::Leases(const std::string& name, const LeasesReply& reply) {
  if (auto parsed = ParseResourceName("parent", kNetworks, name); !parsed)
    return reply(std::unexpected(std::move(parsed).error()));
  const auto found = networks_.find(name);
  if (found == networks_.end()) return reply(std::unexpected(ResourceNotFound("network", name)));
  if (options_.networks == nullptr) return reply(std::vector<v1::Lease>{});
  options_.networks->Leases(found->second.uid(), [this, name, reply, alive = std::weak_ptr(alive_)](
                                                     const auto& found_leases) {
    if (!found_leases)
      return reply(std::unexpected(FromError(found_leases.error(), reason::kHostRefused)));
    std::vector<v1::Lease> leases;
    for (const hostnet::Lease& lease : *found_leases) leases.push_back(ToLease(lease));
    if (!alive.expired()) NameMachines(name, leases);
    reply(std::move(leases));
  });
}

void VmManager::NameMachines(const std::string& network, std::vector<v1::Lease>& leases) const {
  for (const auto& [name, vm] : vms_) {
    for (const v1::NetworkInterface& nic : vm.stored.vm.spec().nics()) {
      if (nic.network() != network) continue;
      for (v1::Lease& lease : leases)
        if (lease.mac_address() == nic.mac_address()) lease.set_virtual_machine(name);
    }
  }
}

// ---- the host

// Makes the host what the record says.
void VmManager::PursueNetwork(const std::string& name) {
  const auto found = networks_.find(name);
  if (options_.networks == nullptr || found == networks_.end()) return;
  const v1::Network& network = found->second;
  const auto done = [this, name, alive = std::weak_ptr(alive_)](const Status& status) {
    if (!alive.expired()) SettleNetwork(name, status);
  };
  if (network.state() == v1::NETWORK_STATE_DELETING)
    return options_.networks->RemoveNetwork(network.uid(), done);
  if (IsThere(network) && !network_updates_.contains(name)) return;
  auto spec = ToNetworkSpec(network, "network");
  if (!spec)  // of another version of the daemon
    return loop_->Post(
        [done, message = spec.error().message()] { done(MakeError(Code::kInternal, message)); });
  options_.networks->PutNetwork(std::move(*spec), done);
  CheckNetworksLater();
}

// It stays asked for until it is done.
void VmManager::DeleteNetworkLater(v1::Network network, const Error& error) {
  LOG(kWarning, "networks", "{}: {}", network.name(), error.message);
  network.set_message(Printable(error.message));
  Batch batch;
  batch.put_networks.push_back(network);
  static_cast<void>(Commit(std::move(batch)));
  timers_->After(kRetryMs, [this, name = network.name(), alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) PursueNetwork(name);
  });
}

// What the host made of what was asked last.
void VmManager::SettleNetwork(const std::string& name, const Status& outcome) {
  const auto found = networks_.find(name);
  if (found == networks_.end()) return;
  v1::Network next = found->second;
  const bool deleting = next.state() == v1::NETWORK_STATE_DELETING;
  const bool creating = next.state() == v1::NETWORK_STATE_CREATING;
  if (deleting && !outcome) return DeleteNetworkLater(next, outcome.error());
  Batch batch;
  if (deleting || (creating && !outcome)) {
    AddNetworkEvent(batch, v1::EVENT_TYPE_DELETED, next, outcome ? "REQUESTED" : "NETWORK_FAILED",
                    outcome ? "" : outcome.error().message, nullptr);
    batch.delete_networks.push_back(name);
  } else if (creating) {
    next.set_state(v1::NETWORK_STATE_READY);
    batch.put_networks.push_back(next);
  } else if (!outcome && network_updates_.contains(name)) {
    next = network_updates_.at(name);
    batch.put_networks.push_back(next);
  }
  for (const auto& [operation_name, operation] : operations_) {
    if (operation.done() || operation.metadata().target() != name) continue;
    if (outcome)
      EndOperation(batch, operation, next);
    else
      EndOperation(batch, operation, HostError(outcome.error()));
  }
  if (Commit(std::move(batch))) {
    network_updates_.erase(name);
    return;
  }
  timers_->After(kRetryMs, [this, name, outcome, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) SettleNetwork(name, outcome);
  });
}

}  // namespace gemel::daemon
