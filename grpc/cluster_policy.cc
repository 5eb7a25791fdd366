#include "grpc/cluster_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kMostSeconds = 7 * 24 * 3600;
constexpr std::uint32_t kMostPriority = 1000;
constexpr std::uint32_t kMostRestarts = 1000;
constexpr std::uint32_t kRestarts = 3;
constexpr std::int64_t kWindowSeconds = 600;

cluster::Time ToTime(const google::protobuf::Duration& span) {
  return {span.seconds() * 1'000'000 + span.nanos() / 1000};
}

ApiResult<void> CheckSpan(const std::string& field, const google::protobuf::Duration& span) {
  if (span.seconds() >= 0 && span.seconds() <= kMostSeconds && span.nanos() >= 0 &&
      span.nanos() <= 999'999'999)
    return {};
  return std::unexpected(InvalidField(
      field, fmt::format("{} s {} ns is not from 0 to a week", span.seconds(), span.nanos())));
}

}  // namespace

cluster::VmPolicy ToPolicy(const v1::FailoverSpec& spec, cluster::NodeId preferred,
                           std::uint32_t apart) {
  cluster::VmPolicy policy;
  policy.priority = spec.priority();
  policy.preferred = preferred;
  policy.fail_back = spec.fail_back();
  policy.apart = apart;
  policy.start_delay = ToTime(spec.start_delay());
  policy.most_restarts = spec.max_restarts() == 0 ? kRestarts : spec.max_restarts();
  policy.window = {kWindowSeconds * 1'000'000};
  if (spec.has_restart_window()) policy.window = ToTime(spec.restart_window());
  policy.stay_down = spec.stay_down();
  return policy;
}

ApiResult<void> CheckFailover(const v1::VirtualMachineSpec& spec, std::string_view prefix) {
  if (!spec.has_failover()) return {};
  const v1::FailoverSpec& failover = spec.failover();
  const auto field = [&](std::string_view name) {
    return fmt::format("{}.failover.{}", prefix, name);
  };
  if (failover.priority() > kMostPriority)
    return std::unexpected(InvalidField(
        field("priority"), fmt::format("{}: 0 to {}", failover.priority(), kMostPriority)));
  if (failover.max_restarts() > kMostRestarts)
    return std::unexpected(InvalidField(
        field("max_restarts"), fmt::format("{}: 0 to {}", failover.max_restarts(), kMostRestarts)));
  if (!failover.anti_affinity_group().empty() && !IsResourceId(failover.anti_affinity_group()))
    return std::unexpected(InvalidField(
        field("anti_affinity_group"),
        fmt::format("\"{}\" is not 1 to 63 of a-z, 0-9 and '-', beginning with a letter",
                    failover.anti_affinity_group())));
  if (!v1::OnHeartbeatLoss_IsValid(failover.on_heartbeat_loss()))
    return std::unexpected(InvalidField(
        field("on_heartbeat_loss"), fmt::format("{} is not NONE (1) or RESTART (2)",
                                                static_cast<int>(failover.on_heartbeat_loss()))));
  if (failover.stay_down() && failover.on_heartbeat_loss() == v1::ON_HEARTBEAT_LOSS_RESTART)
    return std::unexpected(InvalidField(
        field("on_heartbeat_loss"),
        "RESTART: with stay_down it would be ended and not started again: set one of them"));
  if (auto span = CheckSpan(field("start_delay"), failover.start_delay()); !span) return span;
  if (auto span = CheckSpan(field("restart_window"), failover.restart_window()); !span) return span;
  for (int i = 0; i < spec.disks_size(); ++i) {
    if (spec.disks(i).read_only() || spec.disks(i).has_iscsi() || spec.disks(i).direct()) continue;
    return std::unexpected(InvalidField(
        fmt::format("{}.disks[{}].direct", prefix, i),
        fmt::format(
            "\"{}\": a machine with failover writes past the host's page cache, which would "
            "go on writing when the machine has gone",
            spec.disks(i).disk())));
  }
  return {};
}

bool RefusesNobody(const v1::VirtualMachineSpec& spec) {
  return std::any_of(spec.disks().begin(), spec.disks().end(),
                     [](const auto& disk) { return !disk.has_iscsi() && !disk.read_only(); });
}

std::string_view WhyWord(cluster::Placement::Why why) {
  using Why = cluster::Placement::Why;
  switch (why) {
    case Why::kStays:
      return "stays";
    case Why::kStart:
      return "start";
    case Why::kFailBack:
      return "fail-back";
    case Why::kWaitsForGroup:
      return "waits-for-group";
    case Why::kWaitsForDelay:
      return "waits-for-delay";
    case Why::kStaysDown:
      return "stays-down";
    case Why::kTooManyRestarts:
      return "too-many-restarts";
    case Why::kNoCapacity:
      return "no-capacity";
    case Why::kApart:
      return "apart";
    case Why::kNoNetwork:
      return "no-network";
    case Why::kPaused:
      return "paused";
  }
  return "unknown";
}

}  // namespace gemel::daemon
