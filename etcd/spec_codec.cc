#include "etcd/spec_codec.h"

#include <utility>

#include "etcd/record_value.h"

namespace gemel::etcd {
namespace {

using internal::ClusterValue;

constexpr std::string_view kSpecs = "/gemel/specs/";
constexpr std::string_view kNames = "/gemel/names/";
constexpr std::string_view kInfo = "/gemel/info/";
constexpr std::string_view kEvents = "/gemel/events/";
constexpr std::size_t kMostSpecBytes = 256 << 10;

std::optional<std::uint32_t> NumberAfter(std::string_view prefix, std::string_view key) {
  if (!key.starts_with(prefix)) return std::nullopt;
  return ParseNumber(key.substr(prefix.size()));
}

void Encode(const NodeNetwork& network, internal::ClusterNodeNetwork& to) {
  to.set_name(network.name);
  to.set_subnet(network.subnet);
  to.set_dhcp_first(network.dhcp_first);
  to.set_dhcp_last(network.dhcp_last);
  to.set_allow_spoofing(network.allow_spoofing);
  to.set_trouble(network.trouble);
  to.mutable_taken()->Assign(network.taken.begin(), network.taken.end());
}

NodeNetwork Decode(const internal::ClusterNodeNetwork& from) {
  NodeNetwork network;
  network.name = from.name();
  network.subnet = from.subnet();
  network.dhcp_first = from.dhcp_first();
  network.dhcp_last = from.dhcp_last();
  network.allow_spoofing = from.allow_spoofing();
  network.trouble = from.trouble();
  network.taken.assign(from.taken().begin(), from.taken().end());
  return network;
}

}  // namespace

std::string SpecKey(std::uint32_t vm) { return fmt::format("{}{}", kSpecs, vm); }
std::string NameKey(std::string_view name) { return fmt::format("{}{}", kNames, name); }
std::string InfoKey(cluster::NodeId node) { return fmt::format("{}{}", kInfo, node); }
std::string EventKey(cluster::NodeId node, std::uint64_t number) {
  return fmt::format("{}{}/{}", kEvents, node, number % kEventSlots);
}

std::optional<std::uint32_t> VmOfSpecKey(std::string_view key) { return NumberAfter(kSpecs, key); }
std::optional<cluster::NodeId> NodeOfInfoKey(std::string_view key) {
  return NumberAfter(kInfo, key);
}

std::optional<cluster::NodeId> NodeOfEventKey(std::string_view key) {
  return NumberAfter(kEvents, key.substr(0, key.rfind('/')));
}

std::string EncodeSpec(const MachineSpec& spec) {
  ClusterValue value;
  internal::ClusterSpec& to = *value.mutable_spec();
  to.set_name(spec.name);
  to.set_machine(spec.machine);
  to.set_deleting(spec.deleting);
  to.set_at_once(spec.at_once);
  to.set_reason(spec.reason);
  to.set_message(spec.message);
  for (const MachineCall& call : spec.calls) {
    internal::ClusterCall& one = *to.add_calls();
    one.set_key(call.key);
    one.set_fingerprint(call.fingerprint);
    one.set_operation(call.operation);
  }
  return Serialize(std::move(value));
}

std::string EncodeName(std::uint32_t vm) {
  ClusterValue value;
  value.mutable_name()->set_vm(vm);
  return Serialize(std::move(value));
}

std::string EncodeLastVm(std::uint32_t vm) {
  ClusterValue value;
  value.mutable_last_vm()->set_vm(vm);
  return Serialize(std::move(value));
}

std::string EncodeInfo(const NodeInfo& info) {
  ClusterValue value;
  internal::ClusterNodeInfo& to = *value.mutable_node();
  to.set_name(info.name);
  to.set_address(info.address);
  to.set_version(info.version);
  to.set_memory(info.memory);
  to.set_drained(info.drained);
  to.set_peer_address(info.peer_address);
  for (const NodeNetwork& network : info.networks) Encode(network, *to.add_networks());
  for (const std::string& node : info.can_fence) to.add_can_fence(node);
  return Serialize(std::move(value));
}

std::string EncodeEvent(const NodeEvent& event) {
  ClusterValue value;
  internal::ClusterEvent& to = *value.mutable_event();
  to.set_number(event.number);
  to.set_incarnation(event.incarnation);
  to.set_event(event.event);
  return Serialize(std::move(value));
}

Result<MachineSpec> DecodeSpec(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kSpec, kMostSpecBytes));
  const internal::ClusterSpec& from = decoded.spec();
  if (from.name().empty() || from.machine().empty())
    return InvalidArgument("a machine without a name, or without what it is");
  MachineSpec spec{from.name(),    from.machine(), from.deleting(),
                   from.at_once(), from.reason(),  from.message()};
  for (const internal::ClusterCall& call : from.calls())
    spec.calls.push_back({call.key(), call.fingerprint(), call.operation()});
  return spec;
}

Result<std::uint32_t> DecodeName(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kName, kMostSpecBytes));
  if (decoded.name().vm() == 0) return InvalidArgument("machine 0: none is");
  return decoded.name().vm();
}

Result<std::uint32_t> DecodeLastVm(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kLastVm, kMostSpecBytes));
  return decoded.last_vm().vm();
}

Result<NodeInfo> DecodeInfo(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kNode, kMostSpecBytes));
  const internal::ClusterNodeInfo& from = decoded.node();
  if (from.name().empty()) return InvalidArgument("a node without a name");
  NodeInfo info{from.name(),   from.address(), from.version(),
                from.memory(), from.drained(), from.peer_address()};
  for (const internal::ClusterNodeNetwork& network : from.networks())
    info.networks.push_back(Decode(network));
  info.can_fence.assign(from.can_fence().begin(), from.can_fence().end());
  return info;
}

Result<NodeEvent> DecodeEvent(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kEvent, kMostSpecBytes));
  const internal::ClusterEvent& from = decoded.event();
  if (from.number() == 0 || from.event().empty())
    return InvalidArgument("an event without a number, or without what happened");
  return NodeEvent{from.number(), from.incarnation(), from.event()};
}

}  // namespace gemel::etcd
