#include "etcd/spec_codec.h"

#include <utility>

#include "etcd/record_value.h"

namespace gemel::etcd {
namespace {

using internal::ClusterValue;

constexpr std::string_view kSpecs = "/gemel/specs/";
constexpr std::string_view kNames = "/gemel/names/";
constexpr std::string_view kInfo = "/gemel/info/";
constexpr std::size_t kMostBytes = 256 << 10;

std::optional<std::uint32_t> NumberAfter(std::string_view prefix, std::string_view key) {
  if (!key.starts_with(prefix)) return std::nullopt;
  return ParseNumber(key.substr(prefix.size()));
}

}  // namespace

std::string SpecKey(std::uint32_t vm) { return fmt::format("{}{}", kSpecs, vm); }
std::string NameKey(std::string_view name) { return fmt::format("{}{}", kNames, name); }
std::string InfoKey(cluster::NodeId node) { return fmt::format("{}{}", kInfo, node); }

std::optional<std::uint32_t> VmOfSpecKey(std::string_view key) { return NumberAfter(kSpecs, key); }
std::optional<cluster::NodeId> NodeOfInfoKey(std::string_view key) {
  return NumberAfter(kInfo, key);
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
  return Serialize(std::move(value));
}

Result<MachineSpec> DecodeSpec(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kSpec, kMostBytes));
  const internal::ClusterSpec& from = decoded.spec();
  if (from.name().empty() || from.machine().empty())
    return InvalidArgument("a machine without a name, or without what it is");
  return MachineSpec{from.name(),    from.machine(), from.deleting(),
                     from.at_once(), from.reason(),  from.message()};
}

Result<std::uint32_t> DecodeName(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kName, kMostBytes));
  if (decoded.name().vm() == 0) return InvalidArgument("machine 0: none is");
  return decoded.name().vm();
}

Result<std::uint32_t> DecodeLastVm(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kLastVm, kMostBytes));
  return decoded.last_vm().vm();
}

Result<NodeInfo> DecodeInfo(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kNode, kMostBytes));
  const internal::ClusterNodeInfo& from = decoded.node();
  if (from.name().empty()) return InvalidArgument("a node without a name");
  return NodeInfo{from.name(), from.address(), from.version(), from.memory(), from.drained()};
}

}  // namespace gemel::etcd
