#include "grpc/node_health.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kBetweenLooksMs = 5000;

v1::HealthCondition Condition(std::string name, v1::NodeHealth health, std::string_view message) {
  v1::HealthCondition condition;
  condition.set_condition(std::move(name));
  condition.set_health(health);
  condition.set_message(Printable(message));
  return condition;
}

v1::HealthCondition Failed(std::string name, std::string_view problem) {
  return Condition(std::move(name), problem.empty() ? v1::NODE_HEALTH_OK : v1::NODE_HEALTH_FAILED,
                   problem);
}

}  // namespace

v1::HealthCondition PoolCondition(const std::string& name, const Result<PoolSpace>& space) {
  const std::string condition = "pool/" + name;
  if (!space) return Failed(condition, space.error().message);
  // Overflow-safe: neither is near 2^64 / 100.
  if (space->free * 100 >= space->capacity * kPoolAlarmPercent)
    return Condition(condition, v1::NODE_HEALTH_OK, "");
  return Condition(condition, v1::NODE_HEALTH_DEGRADED,
                   fmt::format("{} of {} MiB are free", space->free >> 20, space->capacity >> 20));
}

std::vector<v1::HealthCondition> NodeHealth::Find(const DiskPools& pools) {
  std::vector<v1::HealthCondition> found;
  found.push_back(
      Failed("kvm", ::access("/dev/kvm", R_OK | W_OK) == 0 ? "" : "/dev/kvm is not ours"));
  for (const auto& [name, folder] : pools.pools())
    found.push_back(PoolCondition(name, pools.Space(name)));
  return found;
}

void NodeHealth::Look() {
  parts_.worker->Post([this, parts = parts_, alive = std::weak_ptr(alive_)] {
    parts.loop->Post([this, alive, found = Find(*parts.pools)] {
      if (!alive.expired()) Settle(found);
    });
  });
}

void NodeHealth::Settle(std::vector<v1::HealthCondition> found) {
  const auto store = parts_.published->problems.Get("store");
  found.push_back(Failed("store", store == nullptr ? "" : *store));
  for (v1::HealthCondition& condition : found) {
    const std::string& name = condition.condition();
    const auto before = parts_.published->conditions.Get(name);
    if (before != nullptr && before->health() == condition.health())
      *condition.mutable_change_time() = before->change_time();
    else
      condition.mutable_change_time()->set_seconds(parts_.clock->RealtimeNow() / 1'000'000'000);
    parts_.published->conditions.Put(name, condition);
    v1::NodeHealth& told = told_.try_emplace(name, v1::NODE_HEALTH_OK).first->second;
    if (told != condition.health() && parts_.manager->TellNode(condition))
      told = condition.health();
  }
  parts_.timers->After(kBetweenLooksMs, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) Look();
  });
}

}  // namespace gemel::daemon
