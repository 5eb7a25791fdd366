// Machines of the cluster and its nodes, as operators ask for them, as etcd's keys and values.
//
//   /gemel/specs/VM      MachineSpec; VM is a number that is never given again
//   /gemel/specs/last    the highest of them
//   /gemel/names/NAME    the machine that has this name
//   /gemel/info/NODE     NodeInfo
//   /gemel/events/NODE/SLOT   NodeEvent; the last ones of a node, written over in turn
//
// Beside etcd/codec.h, and by the same rules. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/records.h"

namespace gemel::etcd {

// A call that changed a machine, in the same transaction.
struct MachineCall {
  std::string key;          // who and with which request id; empty: it had none
  std::string fingerprint;  // of the whole request
  std::string operation;    // gemel.v1.Operation, as it began
  bool operator==(const MachineCall&) const = default;
};

struct MachineSpec {
  std::string name;     // projects/{project}/vms/{vm}
  std::string machine;  // gemel.v1.VirtualMachine, without its status
  bool deleting = false;
  bool at_once = false;  // if it is to stop: without asking its guest
  std::string reason;    // why it shall be so: a stable word; empty: somebody asked for it
  std::string message;
  std::vector<MachineCall> calls{};  // the last ones, oldest first
  bool operator==(const MachineSpec&) const = default;
};

// A network of a node's, as far as machines of the cluster must know it.
struct NodeNetwork {
  std::string name;    // projects/{project}/networks/{network}
  std::string subnet;  // "10.88.0.0/24" of a managed bridge; empty: a bridge of the host
  std::string dhcp_first;
  std::string dhcp_last;
  bool allow_spoofing = false;
  std::string trouble;  // why it cannot be used at the moment; empty: it can
  std::vector<std::uint32_t>
      taken;  // IPv4 addresses of machines that are the node's own, ascending
  bool operator==(const NodeNetwork&) const = default;
};

struct NodeInfo {
  std::string name;
  std::string address;  // of its API
  std::string version;
  std::uint64_t memory = 0;  // bytes for machines of the cluster
  bool drained = false;
  std::string peer_address{};  // where its gemeld takes calls of other nodes; empty: nowhere
  std::vector<NodeNetwork> networks{};   // by name
  std::vector<std::string> can_fence{};  // nodes, by name, that it has a fence agent for
  bool operator==(const NodeInfo&) const = default;
};

struct NodeEvent {
  std::uint64_t number = 0;  // counts those of its node, from 1; its slot is what is left of it
  std::uint64_t incarnation = 0;  // of the cluster, when it was told
  std::string event;              // gemel.v1.Event
  bool operator==(const NodeEvent&) const = default;
};
inline constexpr std::uint64_t kEventSlots = 256;

std::string SpecKey(std::uint32_t vm);
std::string NameKey(std::string_view name);
std::string InfoKey(cluster::NodeId node);
std::string EventKey(cluster::NodeId node, std::uint64_t number);
inline constexpr std::string_view kLastVmKey = "/gemel/specs/last";
// A decimal number: what all members understand (member/record.h).
inline constexpr std::string_view kLevelKey = "/gemel/cluster/level";

// nullopt for other keys.
std::optional<std::uint32_t> VmOfSpecKey(std::string_view key);
std::optional<cluster::NodeId> NodeOfInfoKey(std::string_view key);
std::optional<cluster::NodeId> NodeOfEventKey(std::string_view key);

std::string EncodeSpec(const MachineSpec& spec);
std::string EncodeName(std::uint32_t vm);
std::string EncodeLastVm(std::uint32_t vm);
std::string EncodeInfo(const NodeInfo& info);
std::string EncodeEvent(const NodeEvent& event);

// kInvalidArgument says what is wrong; a format of later versions is kUnimplemented.
Result<MachineSpec> DecodeSpec(std::string_view value);
Result<std::uint32_t> DecodeName(std::string_view value);
Result<std::uint32_t> DecodeLastVm(std::string_view value);
Result<NodeInfo> DecodeInfo(std::string_view value);
Result<NodeEvent> DecodeEvent(std::string_view value);

}  // namespace gemel::etcd
