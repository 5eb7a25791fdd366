#include "grpc/daemon.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/impl/service_type.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/log.h"
#include "base/thread.h"
#include "grpc/access/forwarded.h"
#include "grpc/access/server_tls.h"
#include "grpc/access_service.h"
#include "grpc/api_metrics.h"
#include "grpc/api_server.h"
#include "grpc/cluster_metrics.h"
#include "grpc/cluster_parts.h"
#include "grpc/clusters_service.h"
#include "grpc/consoles_service.h"
#include "grpc/disk_pools.h"
#include "grpc/disks_service.h"
#include "grpc/events_service.h"
#include "grpc/folder_lock.h"
#include "grpc/journal_log.h"
#include "grpc/metrics_collector.h"
#include "grpc/metrics_server.h"
#include "grpc/network_host.h"
#include "grpc/networks_service.h"
#include "grpc/node_health.h"
#include "grpc/nodes_service.h"
#include "grpc/operations_service.h"
#include "grpc/virtual_machines_service.h"
#include "grpc/vm_store.h"

namespace gemel::daemon {
namespace {

Status MakeFolder(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, path);
}

Result<UniqueFd> WatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGPWR);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  static_cast<void>(signal(SIGPIPE, SIG_IGN));
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return ErrnoError(errno, "signalfd");
  return fd;
}

// Of machines that are this node's own, and run or shall.
std::uint64_t OrdinaryMemory(const Published& published) {
  std::uint64_t bytes = 0;
  published.vms.Visit("", "", [&](const std::string&, const auto& vm) {
    const bool off = vm->desired_state() == v1::DESIRED_STATE_STOPPED && vm->status().pid() == 0;
    if (!vm->spec().has_failover() && !off) bytes += MemoryNeed(vm->spec());
    return true;
  });
  return bytes;
}

class Daemon {
 public:
  Daemon(const DaemonConfig& config, const SupervisorFactory& factory)
      : config_(config), factory_(factory) {}
  ~Daemon();

  Status Begin();
  void Run() { main_loop_->Run(); }

 private:
  Status PrepareFolders();
  Status PrepareAccess();
  Status PrepareCluster();
  Status PrepareForwarding();
  Status PrepareManager();
  Status BeginManager(std::function<void(Status)> ready);
  Status StartManager();
  void StartSampler();
  void OnSignal();
  Status StartMetrics();
  void Look(ClusterSight& sight) const;
  HostPaths Paths();

  const DaemonConfig& config_;
  const SupervisorFactory& factory_;
  const SystemClock clock_;
  UniqueFd state_lock_, run_lock_, signals_;
  std::unique_ptr<EventLoop> main_loop_;  // signals and new connections
  std::unique_ptr<EventLoop> loop_;       // the manager's
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<access::PolicyStore> policy_;
  std::unique_ptr<access::AuditLog> audit_;
  access::Identities identities_;
  std::unique_ptr<access::Doorman> doorman_;
  std::unique_ptr<CallGate> gate_;
  std::vector<ApiServer::Port> ports_;
  std::unique_ptr<DiskPools> pools_;
  std::unique_ptr<EventLoop> worker_loop_;  // what takes time with disks' files
  std::unique_ptr<NetworkHost> networks_;   // its answers go to loop_
  std::unique_ptr<SqliteStore> store_;
  Published published_;
  std::unique_ptr<VmManager> manager_;
  std::unique_ptr<VmSupervisor> supervisor_;
  std::optional<cluster::ClusterConfig> cluster_config_;
  std::unique_ptr<ClusterParts> cluster_;  // on the manager's loop
  std::string peer_listen_;                // for other nodes; empty: they cannot ask this one
  std::unique_ptr<Forwarder> forwarder_;
  std::unique_ptr<VmSampler> sampler_;
  std::unique_ptr<NodeHealth> health_;
  ServiceContext services_;
  std::unique_ptr<VirtualMachinesService> vms_;
  std::unique_ptr<OperationsService> operations_;
  std::unique_ptr<EventsService> events_;
  std::unique_ptr<NodesService> nodes_;
  std::unique_ptr<ClustersService> clusters_;
  std::unique_ptr<DisksService> disks_;
  std::unique_ptr<NetworksService> networks_service_;
  std::unique_ptr<ConsolesService> consoles_;
  std::unique_ptr<AccessService> access_;
  ApiMetrics api_metrics_;
  std::unique_ptr<EtcdProbe> etcd_probe_;
  std::unique_ptr<MetricsServer> metrics_;
  std::unique_ptr<ApiServer> server_;
  std::thread manager_thread_;
  std::thread worker_thread_;
};

// Calls first, which need the manager; then the manager, whose VMs run on.
Daemon::~Daemon() {
  metrics_.reset();
  etcd_probe_.reset();
  server_.reset();
  if (forwarder_ != nullptr) forwarder_->WaitForStreams();
  if (worker_thread_.joinable()) {
    worker_loop_->Stop();
    worker_thread_.join();
  }
  if (manager_thread_.joinable()) {
    loop_->Stop();
    manager_thread_.join();
  }
  health_.reset();
  sampler_.reset();
  cluster_.reset();
  networks_.reset();
  supervisor_.reset();
  manager_.reset();
}

Status Daemon::PrepareFolders() {
  RETURN_IF_ERROR(MakeFolder(config_.state_dir, 0700));
  // Callers pass through it to api.sock; what else is in it has modes of its own.
  RETURN_IF_ERROR(MakeFolder(config_.run_dir, 0711));
  ASSIGN_OR_RETURN(state_lock_, LockFolder(config_.state_dir));
  ASSIGN_OR_RETURN(run_lock_, LockFolder(config_.run_dir));
  return {};
}

Status Daemon::PrepareAccess() {
  ASSIGN_OR_RETURN(policy_, access::PolicyStore::Open(config_.state_dir + "/access"));
  ASSIGN_OR_RETURN(audit_, access::AuditLog::Open(config_.state_dir + "/audit.log", &clock_));
  RETURN_IF_ERROR(PrepareForwarding());
  identities_.Add(std::make_unique<access::LocalIdentity>(&clock_));
  if (!config_.tls_listen.empty()) {
    ASSIGN_OR_RETURN(access::ServerTls tls,
                     access::MakeServerTls(access::TlsFiles::Of(config_.pki_dir)));
    ports_.push_back({"tls.listen", config_.tls_listen, tls.credentials});
    identities_.Add(std::make_unique<access::CertificateIdentity>(tls.revoked, &clock_));
  }
  doorman_ = std::make_unique<access::Doorman>(&identities_, policy_.get(), audit_.get());
  gate_ = std::make_unique<CallGate>(doorman_.get());
  return {};
}

// Nodes ask one another with the cluster's certificates, at the address of their member of etcd. Before
// other identities: what the cluster's authority signed is a node's.
Status Daemon::PrepareForwarding() {
  if (!cluster_config_ || cluster_config_->ca.empty()) return {};
  const cluster::MemberConfig& member = cluster_config_->member;
  if (member.address.empty() || member.certificate.empty()) return {};
  ASSIGN_OR_RETURN(std::string authority, ReadTextFile(cluster_config_->ca));
  std::string list = cluster_config_->ca.substr(0, cluster_config_->ca.rfind('/') + 1) + "crl.pem";
  if (StampOf(list).size < 0) list.clear();
  ASSIGN_OR_RETURN(
      access::ServerTls tls,
      access::MakeServerTls({member.certificate, member.certificate, cluster_config_->ca, list}));
  const bool v6 = member.address.find(':') != std::string::npos;
  peer_listen_ =
      fmt::format("{}{}{}:{}", v6 ? "[" : "", member.address, v6 ? "]" : "", member.api_port);
  ports_.push_back({"member.api_port", peer_listen_, tls.credentials});
  identities_.Add(std::make_unique<access::NodeIdentity>(
      std::move(authority), tls.revoked,
      [this](const std::string& name) { return published_.peers.Get(name) != nullptr; }, &clock_));
  forwarder_ = std::make_unique<Forwarder>(
      config_.node, &published_,
      Forwarder::Files{cluster_config_->ca, cluster_config_->certificate, cluster_config_->key});
  services_.forwarder = forwarder_.get();
  return {};
}

HostPaths Daemon::Paths() {
  HostPaths paths;
  paths.boot_folders = config_.boot_dirs;
  paths.iscsi = config_.iscsi;
  paths.disk_path = [this](std::string_view name) -> ApiResult<std::string> {
    const auto disk = published_.disks.Get(name);
    if (disk == nullptr || disk->state() != v1::DISK_STATE_READY)
      return std::unexpected(InvalidField(
          "", fmt::format("\"{}\" {}", name, disk == nullptr ? "does not exist" : "is not ready")));
    if (!disk->block_device().empty()) return disk->block_device();
    auto path = pools_->PathOf(disk->pool(), disk->uid());
    if (!path) return std::unexpected(InvalidField("", path.error().message));
    return *path;
  };
  paths.tap_name = [this](const std::string& port) { return networks_->TapOf(port); };
  paths.vhost = config_.vhost;
  return paths;
}

Status Daemon::PrepareManager() {
  ASSIGN_OR_RETURN(loop_, EventLoop::Create());
  ASSIGN_OR_RETURN(timers_, Timers::Create(loop_.get(), &clock_));
  ASSIGN_OR_RETURN(worker_loop_, EventLoop::Create());
  pools_ = std::make_unique<DiskPools>(config_.pools, config_.block_devices);
  ASSIGN_OR_RETURN(store_, SqliteStore::Open(config_.state_dir + "/gemeld.db"));
  ASSIGN_OR_RETURN(networks_, OpenNetworkHost(config_.state_dir, config_.run_dir, loop_.get()));
  VmManager::Options options;
  options.node = config_.node;
  options.paths = Paths();
  options.memory_capacity = config_.memory_capacity;
  options.cpu_capacity_millis = std::thread::hardware_concurrency() * 1000;
  options.quotas = policy_.get();
  options.pools = pools_.get();
  options.worker = worker_loop_.get();
  options.networks = networks_.get();
  options.host_bridges = config_.host_bridges;
  manager_ = std::make_unique<VmManager>(loop_.get(), timers_.get(), &clock_, store_.get(),
                                         &published_, options);
  ASSIGN_OR_RETURN(supervisor_,
                   factory_(loop_.get(), config_, [this](const VmUid& uid, const VmEvent& event) {
                     manager_->OnVmEvent(uid, event);
                   }));
  services_.loop = loop_.get();
  services_.timers = timers_.get();
  services_.manager = manager_.get();
  sampler_ = std::make_unique<VmSampler>(timers_.get(), &clock_, &published_,
                                         config_.heartbeat_seconds * 1000);
  services_.sampler = sampler_.get();
  services_.published = &published_;
  services_.gate = gate_.get();
  return {};
}

void Daemon::StartSampler() {
  sampler_->Begin(supervisor_.get(), [this](const VmUid& uid, const VmEvent& event) {
    manager_->OnVmEvent(uid, event);
  });
  health_ = std::make_unique<NodeHealth>(NodeHealth::Parts{loop_.get(), worker_loop_.get(),
                                                           timers_.get(), &clock_, pools_.get(),
                                                           &published_, manager_.get()});
  health_->Begin();
}

// SIGPWR: the host goes down, and this daemon ends once the guests are off. Any other: it ends now.
void Daemon::OnSignal() {
  signalfd_siginfo info{};
  if (read(signals_.get(), &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo != SIGPWR) return main_loop_->Stop();
  loop_->Post([this] {
    manager_->StopWithHost([this] { main_loop_->Post([this] { main_loop_->Stop(); }); });
  });
}

// A node that is one of a cluster's, and does not know of it, would run machines that are another's.
Status Daemon::PrepareCluster() {
  if (StampOf(config_.cluster_file).size < 0) return {};
  ASSIGN_OR_RETURN(cluster_config_, cluster::ReadClusterConfig(config_.cluster_file));
  if (cluster_config_->role != cluster::Role::kNode)
    return FailedPrecondition("{}: a witness runs no machines", config_.cluster_file);
  if (!cluster_config_->name.empty() && cluster_config_->name != config_.node)
    return FailedPrecondition("node: \"{}\": {} says that this one is \"{}\"", config_.node,
                              config_.cluster_file, cluster_config_->name);
  return {};
}

// On the manager's loop.
Status Daemon::BeginManager(std::function<void(Status)> ready) {
  if (cluster_config_) {
    etcd::NodeInfo self{config_.node, config_.tls_listen, GEMEL_VERSION, config_.memory_capacity,
                        false,        peer_listen_};
    ASSIGN_OR_RETURN(cluster_, ClusterParts::Create(
                                   config_.cluster_file, *cluster_config_, std::move(self),
                                   {loop_.get(), &clock_, supervisor_.get(), manager_->records(),
                                    [this] { return OrdinaryMemory(published_); },
                                    &published_.peers, config_.fence_agents}));
    manager_->Join(cluster_->member());
  }
  manager_->Begin(supervisor_.get(), std::move(ready));
  return {};
}

// Returns once the machines of before were found again.
Status Daemon::StartManager() {
  std::promise<Status> ready;
  loop_->Post([this, &ready] {
    const Status begun = BeginManager([this, &ready](Status status) {
      if (status) StartSampler();
      ready.set_value(std::move(status));
    });
    if (!begun) ready.set_value(begun);
  });
  ASSIGN_OR_RETURN(manager_thread_, StartThread("manager", [this] { loop_->Run(); }));
  ASSIGN_OR_RETURN(worker_thread_, StartThread("disks", [this] { worker_loop_->Run(); }));
  return ready.get_future().get();
}

void Daemon::Look(ClusterSight& sight) const {
  cluster_->member()->FillStatus(sight.status);
  sight.status.set_cluster(cluster_config_->cluster);
  sight.clock_rates = cluster_->member()->ClockRates();
}

Status Daemon::StartMetrics() {
  if (config_.metrics_listen.empty()) return {};
  auto collector = std::make_shared<MetricsCollector>(
      loop_.get(), sampler_.get(), &published_, [this] { return nodes_->Describe(); },
      [this] { return disks_->DescribePools(); });
  std::vector<std::shared_ptr<prometheus::Collectable>> all = {std::move(collector),
                                                               api_metrics_.registry()};
  if (cluster_) {
    ASSIGN_OR_RETURN(etcd_probe_, EtcdProbe::Start(config_.cluster_file));
    all.push_back(std::make_shared<ClusterCollector>(
        loop_.get(), [this](ClusterSight& sight) { Look(sight); }, etcd_probe_.get()));
  }
  ASSIGN_OR_RETURN(metrics_, MetricsServer::Start(config_.metrics_listen, std::move(all)));
  return {};
}

Status Daemon::Begin() {
  ASSIGN_OR_RETURN(signals_, WatchSignals());
  ASSIGN_OR_RETURN(main_loop_, EventLoop::Create());
  RETURN_IF_ERROR(
      main_loop_->Watch(signals_.get(), EPOLLIN, [this](std::uint32_t) { OnSignal(); }));
  RETURN_IF_ERROR(PrepareFolders());
  RETURN_IF_ERROR(PrepareCluster());
  RETURN_IF_ERROR(PrepareAccess());
  RETURN_IF_ERROR(PrepareManager());
  RETURN_IF_ERROR(StartManager());
  vms_ = std::make_unique<VirtualMachinesService>(&services_);
  operations_ = std::make_unique<OperationsService>(&services_);
  events_ = std::make_unique<EventsService>(&services_);
  nodes_ = std::make_unique<NodesService>(
      &services_, NodesService::Facts{config_.node, GEMEL_VERSION, config_.memory_capacity,
                                      std::thread::hardware_concurrency() * 1000});
  clusters_ = std::make_unique<ClustersService>(&services_, cluster_ ? cluster_->member() : nullptr,
                                                cluster_config_ ? cluster_config_->cluster : "",
                                                config_.node);
  disks_ = std::make_unique<DisksService>(&services_, pools_.get(), worker_loop_.get());
  networks_service_ = std::make_unique<NetworksService>(&services_);
  consoles_ = std::make_unique<ConsolesService>(&services_);
  access_ = std::make_unique<AccessService>(&services_, policy_.get());
  ApiServer::Interceptors interceptors;
  interceptors.push_back(api_metrics_.MakeInterceptors());
  ASSIGN_OR_RETURN(
      server_,
      ApiServer::Start(config_,
                       {vms_.get(), operations_.get(), events_.get(), nodes_.get(), clusters_.get(),
                        disks_.get(), networks_service_.get(), consoles_.get(), access_.get()},
                       main_loop_.get(), ports_, std::move(interceptors)));
  RETURN_IF_ERROR(StartMetrics());
  LOG_UNLIMITED(kInfo, "gemeld", "ready: {}/api.sock, {} machines", config_.run_dir,
                published_.vms.size());
  return {};
}

}  // namespace

int RunDaemon(const DaemonConfig& config, const SupervisorFactory& make_supervisor) {
  SetLogLevel(config.log_level);
  // It would have a line for each message that a client spoils; the client is told.
  google::protobuf::SetLogHandler(nullptr);
  if (StderrIsJournal(getenv("JOURNAL_STREAM"))) {
    if (const Status journal = LogToJournal(); !journal)
      LOG_UNLIMITED(kWarning, "gemeld", "journal: {}", journal.error().message);
  }
  const bool clustered = StampOf(config.cluster_file).size >= 0;
  if (!config.tls_listen.empty() || clustered) access::AllowTls13Alone();
  Daemon daemon(config, make_supervisor);
  if (const Status begun = daemon.Begin(); !begun) {
    LOG_UNLIMITED(kError, "gemeld", "{}", begun.error().message);
    return 1;
  }
  // Without systemd both do nothing.
  static_cast<void>(sd_notify(0, "READY=1"));
  daemon.Run();
  static_cast<void>(sd_notify(0, "STOPPING=1"));
  LOG_UNLIMITED(kInfo, "gemeld", "ends; machines run on");
  return 0;
}

}  // namespace gemel::daemon
