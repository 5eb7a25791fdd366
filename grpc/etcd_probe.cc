#include "grpc/etcd_probe.h"

#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "cluster/config/cluster_config.h"
#include "etcd/config_follower.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kPatienceMs = 1'000;  // of each call: the daemon's end waits for them

// As its URLs have it, without "https://".
std::string EndpointOf(const etcd::MemberInfo& member) {
  if (member.client_urls.empty()) return "";
  const std::string& url = member.client_urls.front();
  const auto slashes = url.find("//");
  return slashes == std::string::npos ? url : url.substr(slashes + 2);
}

Result<EtcdHealth> AskFile(const std::string& path, const Clock& clock) {
  ASSIGN_OR_RETURN(const cluster::ClusterConfig config, cluster::ReadClusterConfig(path));
  ASSIGN_OR_RETURN(etcd::GrpcKvOptions options, etcd::OptionsOf(config));
  options.call_deadline_ms = kPatienceMs;
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, etcd::CreateGrpcAdmin(options));
  return AskEtcd(*admin, clock);
}

}  // namespace

EtcdHealth AskEtcd(etcd::Admin& admin, const Clock& clock) {
  EtcdHealth health;
  const auto members = admin.Members();
  if (!members) return health;
  std::size_t answering = 0;
  for (const etcd::MemberInfo& info : *members) {
    EtcdHealth::Member& member = health.members.emplace_back();
    member.name = info.name;
    const std::string endpoint = EndpointOf(info);
    // The first connects.
    if (endpoint.empty() || !admin.StatusOf(endpoint)) continue;
    const std::int64_t asked = clock.MonotonicNow();
    const auto status = admin.StatusOf(endpoint);
    if (!status) continue;
    ++answering;
    member.answers = true;
    member.round_trip_ns = clock.MonotonicNow() - asked;
    member.leader = status->leader == status->id;
    member.stored_bytes = status->stored_bytes;
  }
  if (answering * 2 <= members->size()) return health;  // without a majority nobody says
  if (const auto alarms = admin.Alarms()) {
    for (const etcd::AlarmInfo& alarm : *alarms)
      (alarm.no_space ? health.no_space : health.corrupt) = true;
  }
  return health;
}

Result<std::unique_ptr<EtcdProbe>> EtcdProbe::Start(std::string path) {
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Create());
  std::unique_ptr<EtcdProbe> probe(new EtcdProbe(std::move(loop), std::move(path)));
  probe->loop_->Post([raw = probe.get()] { raw->Ask(); });
  ASSIGN_OR_RETURN(probe->thread_,
                   StartThread("etcd-probe", [loop = probe->loop_.get()] { loop->Run(); }));
  return probe;
}

EtcdProbe::~EtcdProbe() {
  if (!thread_.joinable()) return;
  loop_->Stop();
  thread_.join();
}

void EtcdProbe::Ask() {
  Result<EtcdHealth> health = AskFile(path_, clock_);
  if (!health) LOG(kWarning, "cluster", "etcd is not watched: {}", health.error().message);
  {
    const MutexLock lock(mutex_);
    health_ = health ? std::move(*health) : EtcdHealth{};
  }
  if (!timer_.Start(loop_.get(), kEveryMs, [this] { Ask(); }))
    LOG(kError, "cluster", "timer: etcd is not watched any more");
}

EtcdHealth EtcdProbe::health() const {
  const MutexLock lock(mutex_);
  return health_;
}

}  // namespace gemel::daemon
