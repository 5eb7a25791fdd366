#include "member/record.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "proto/member/member.pb.h"

namespace gemel::member {
namespace {

constexpr std::string_view kPrefix = "/gemel/cluster/members/";
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kMostWitnesses = 1;
// Two files each time, and each is renewed when two thirds of its life are over.
constexpr std::size_t kMostSerials = 8;

struct Version {
  int major = 0;
  int minor = 0;
};

std::optional<Version> ParseVersion(std::string_view text) {
  Version version;
  const std::string copy(text);
  const char* const end = copy.c_str() + copy.size();
  const auto major = std::from_chars(copy.c_str(), end, version.major);
  if (major.ec != std::errc() || *major.ptr != '.') return std::nullopt;
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  if (minor.ec != std::errc()) return std::nullopt;
  return version;
}

etcd::KeyRange RangeBelow(std::string_view prefix) {
  std::string end(prefix);
  ++end.back();
  return {std::string(prefix), end};
}

Result<Record> DecodeRecord(const etcd::KeyValue& key) {
  internal::member::MemberRecord wire;
  if (!wire.ParseFromString(key.value)) return InvalidArgument("{}: not a record", key.key);
  if (wire.format() != kFormat) {
    return MakeError(Code::kUnimplemented,
                     fmt::format("{}: of a later version of Gemel: upgrade this machine", key.key));
  }
  Record record;
  record.name = key.key.substr(kPrefix.size());
  record.role = wire.role() == internal::member::ROLE_WITNESS ? cluster::Role::kWitness
                                                              : cluster::Role::kNode;
  record.node = wire.node();
  record.address = wire.address();
  record.machine = wire.machine();
  record.version = wire.version();
  record.member_id = wire.member_id();
  record.left = wire.left();
  record.join_port = static_cast<std::uint16_t>(wire.join_port());
  record.level = wire.level();
  record.serials.assign(wire.serials().begin(), wire.serials().end());
  record.revoked.assign(wire.revoked().begin(), wire.revoked().end());
  record.changed = key.changed;
  return record;
}

}  // namespace

etcd::KeyRange RecordRange() { return RangeBelow(kPrefix); }

etcd::KeyRange RangeOfKey(std::string_view key) {
  std::string end(key);
  end.push_back('\0');
  return {std::string(key), end};
}

std::int64_t NumberOf(std::string_view text) {
  std::int64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() ? number : 0;
}

void AddSerials(Record& record, const std::vector<std::string>& serials) {
  for (const std::string& serial : serials)
    if (std::ranges::find(record.serials, serial) == record.serials.end())
      record.serials.push_back(serial);
  if (record.serials.size() <= kMostSerials) return;
  record.serials.erase(record.serials.begin(),
                       record.serials.end() - static_cast<std::ptrdiff_t>(kMostSerials));
}

std::string RecordKey(std::string_view name) { return std::string(kPrefix) + std::string(name); }

std::string EncodeRecord(const Record& record) {
  internal::member::MemberRecord wire;
  wire.set_format(kFormat);
  wire.set_role(record.role == cluster::Role::kNode ? internal::member::ROLE_NODE
                                                    : internal::member::ROLE_WITNESS);
  wire.set_node(record.node);
  wire.set_address(record.address);
  wire.set_machine(record.machine);
  wire.set_version(record.version);
  wire.set_member_id(record.member_id);
  wire.set_left(record.left);
  wire.set_join_port(record.join_port);
  wire.set_level(record.level);
  for (const std::string& serial : record.serials) wire.add_serials(serial);
  for (const std::string& serial : record.revoked) wire.add_revoked(serial);
  return wire.SerializeAsString();
}

Result<std::vector<Record>> DecodeRecords(const std::vector<etcd::KeyValue>& keys) {
  std::vector<Record> records;
  for (const etcd::KeyValue& key : keys) {
    ASSIGN_OR_RETURN(records.emplace_back(), DecodeRecord(key));
  }
  return records;
}

Result<cluster::NodeId> NextNode(const std::vector<Record>& records) {
  cluster::NodeId highest = 0;
  for (const Record& record : records) highest = std::max(highest, record.node);
  if (highest < cluster::kHighestNode) return highest + 1;
  return MakeError(Code::kResourceExhausted,
                   "all 255 numbers of nodes were given: form a new cluster");
}

Status CheckJoin(const Record& wanted, const std::vector<Record>& records) {
  const bool witness = wanted.role == cluster::Role::kWitness;
  std::size_t witnesses = 0;
  for (const Record& record : records) {
    if (record.left) continue;
    witnesses += record.role == cluster::Role::kWitness ? 1 : 0;
    if (record.name == wanted.name) {
      return MakeError(
          Code::kAlreadyExists,
          fmt::format("name: {}: a member has that name: choose another with --name, or "
                      "remove the old one first (gemel cluster replace {})",
                      wanted.name, wanted.name));
    }
    if (record.address == wanted.address) {
      return MakeError(
          Code::kAlreadyExists,
          fmt::format("address: {}: that is {}'s: each member has an address of its own",
                      wanted.address, record.name));
    }
    if (wanted.machine.empty() || record.machine != wanted.machine) continue;
    if (!witness && record.role == cluster::Role::kNode) {
      return FailedPrecondition(
          "this machine is {} already, or a copy of it: a copy needs an /etc/machine-id of its own "
          "(systemd-machine-id-setup)",
          record.name);
    }
    return FailedPrecondition(
        "this machine is {}: what takes it down would take two votes of three; the witness must be "
        "a third machine, and no virtual machine of the nodes",
        record.name);
  }
  if (witness && witnesses >= kMostWitnesses)
    return FailedPrecondition("there is a witness already: gemel cluster replace NAME removes it");
  return {};
}

Status CheckVersions(std::string_view theirs, std::string_view ours) {
  const auto one = ParseVersion(theirs);
  const auto other = ParseVersion(ours);
  if (!one || !other) return InvalidArgument("version: {}: not MAJOR.MINOR…", one ? ours : theirs);
  if (one->major == other->major && std::abs(one->minor - other->minor) <= 1) return {};
  return FailedPrecondition(
      "versions too far apart: Gemel {} and {}: upgrade the older one until they are neighbours",
      theirs, ours);
}

}  // namespace gemel::member
