#include "member/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "base/clock.h"
#include "base/file_util.h"
#include "etcd/override.h"
#include "member/credentials.h"
#include "member/etcd_words.h"
#include "member/record.h"
#include "pki/certificate.h"
#include "proto/member/member.grpc.pb.h"

namespace gemel::member {
namespace {

namespace wire = internal::member;
namespace tls = grpc::experimental;

// More is nobody's who joins: names of thousands of machines.
constexpr int kMostMessageBytes = 1 << 20;
constexpr int kMostThreads = 8;
constexpr std::chrono::seconds kEndPatience{1};

std::int64_t Now() { return ClockNs(CLOCK_REALTIME) / 1'000'000'000; }

grpc::Status ToGrpc(const Status& status) {
  if (status) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.error().code), status.error().message};
}

class JoiningService : public wire::Joining::Service {
 public:
  explicit JoiningService(Admission* admission) : admission_(admission) {}

  grpc::Status Measure(grpc::ServerContext*, const wire::MeasureRequest* request,
                       wire::MeasureResponse* response) override {
    response->set_boot_ns(BootNs());
    return ToGrpc(admission_->Check(request->secret()));
  }
  grpc::Status Join(grpc::ServerContext*, const wire::JoinRequest* request,
                    wire::JoinResponse* response) override {
    const Status joined = admission_->Join(*request, response);
    if (!joined) response->Clear();
    return ToGrpc(joined);
  }
  grpc::Status Abandon(grpc::ServerContext*, const wire::AbandonRequest* request,
                       wire::AbandonResponse*) override {
    return ToGrpc(admission_->Abandon(request->secret()));
  }
  grpc::Status Renew(grpc::ServerContext* context, const wire::RenewRequest*,
                     wire::RenewResponse* response) override {
    const auto auth = context->auth_context();
    if (!auth || !auth->IsPeerAuthenticated())
      return {grpc::StatusCode::UNAUTHENTICATED, "no certificate of this cluster's was shown"};
    const auto names = auth->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
    if (names.size() != 1) return {grpc::StatusCode::UNAUTHENTICATED, "a certificate without name"};
    const auto shown = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (shown.size() != 1) return {grpc::StatusCode::UNAUTHENTICATED, "no certificate"};
    const auto read = pki::ReadCertificate({shown[0].data(), shown[0].size()});
    if (!read) return ToGrpc(std::unexpected(read.error()));
    const std::string name(names[0].data(), names[0].size());
    const Status renewed = admission_->Renew(name, read->serial, response);
    if (!renewed) response->Clear();
    return ToGrpc(renewed);
  }

 private:
  Admission* const admission_;
};

wire::Role RoleOf(const Record& record) {
  return record.role == cluster::Role::kNode ? wire::ROLE_NODE : wire::ROLE_WITNESS;
}

class ControlService : public wire::Control::Service {
 public:
  ControlService(SharedConfig* config, Admission* admission, Care* care)
      : config_(config), admission_(admission), care_(care) {}

  grpc::Status GetStatus(grpc::ServerContext*, const wire::GetStatusRequest*,
                         wire::GetStatusResponse* response) override;
  grpc::Status Invite(grpc::ServerContext*, const wire::InviteRequest* request,
                      wire::InviteResponse* response) override {
    if (IsWitness()) return Refused();
    const auto role =
        request->role() == wire::ROLE_WITNESS ? cluster::Role::kWitness : cluster::Role::kNode;
    const auto invited = admission_->Invite(role, request->ttl_seconds());
    if (!invited) return ToGrpc(std::unexpected(invited.error()));
    response->set_token(invited->token);
    response->set_expires(invited->expires);
    return grpc::Status::OK;
  }
  grpc::Status Remove(grpc::ServerContext*, const wire::RemoveRequest* request,
                      wire::RemoveResponse*) override {
    // It may take itself out.
    if (IsWitness() && request->name() != config_->Get().name) return Refused();
    return ToGrpc(admission_->Remove(request->name(), request->force()));
  }

 private:
  bool IsWitness() const { return config_->Get().role == cluster::Role::kWitness; }
  static grpc::Status Refused() {
    return {grpc::StatusCode::FAILED_PRECONDITION,
            "a witness lets nobody in and removes nobody: ask on a node"};
  }

  SharedConfig* const config_;
  Admission* const admission_;
  Care* const care_;
};

// What etcd has for people.
void FillKept(etcd::Admin& admin, wire::GetStatusResponse& response) {
  if (const auto backup = admin.Read(RangeOfKey(kBackupKey)); backup && !backup->keys.empty())
    response.set_backup_time(NumberOf(backup->keys[0].value));
  const auto overrides = admin.Read(etcd::OverrideRange());
  if (!overrides) return;
  for (const etcd::KeyValue& key : overrides->keys) {
    const Result<etcd::Override> said = etcd::DecodeOverride(key.value);
    if (!said) continue;
    wire::Override& forced = *response.add_overrides();
    forced.set_time(said->time);
    forced.set_text(said->text);
  }
}

// Nodes that run no etcd, which knows nothing of them.
void AddClients(const std::vector<Record>& records, wire::GetStatusResponse& response) {
  for (const Record& record : records) {
    if (record.left || record.member_id != 0) continue;
    wire::MemberHealth& to = *response.add_members();
    to.set_name(record.name);
    to.set_role(RoleOf(record));
    to.set_node(record.node);
    to.set_address(record.address);
    to.set_client(true);
  }
}

grpc::Status ControlService::GetStatus(grpc::ServerContext*, const wire::GetStatusRequest*,
                                       wire::GetStatusResponse* response) {
  const cluster::ClusterConfig config = config_->Get();
  const Health health = care_->health();
  response->set_cluster(config.cluster);
  response->set_name(config.name);
  response->set_healthy(health.voting && health.led && health.trouble.empty());
  response->set_trouble(health.trouble);
  std::vector<Record> records;
  if (const auto admin = ConnectToEtcd(config); admin && health.led) {
    if (const auto found = (*admin)->Read(RecordRange()))
      records = DecodeRecords(found->keys).value_or(std::vector<Record>());
    FillKept(**admin, *response);
  }
  response->set_level(health.upkeep.level);
  response->set_fsync_p99_us(health.fsync_p99_us);
  response->set_commit_p99_us(health.commit_p99_us);
  response->set_leader_changes(static_cast<std::int64_t>(health.leader_changes));
  for (const MemberView& view : health.members) {
    wire::MemberHealth& to = *response->add_members();
    to.set_name(view.info.name);
    for (const Record& record : records) {
      if (record.left || record.member_id != view.info.id) continue;
      to.set_name(record.name);
      to.set_role(RoleOf(record));
      to.set_node(record.node);
      to.set_address(record.address);
    }
    to.set_voting(!view.info.learner);
    to.set_leads(view.status.leader == view.info.id);
    to.set_trouble(view.trouble);
    to.set_version(view.status.version);
    to.set_stored_bytes(view.status.stored_bytes);
  }
  AddClients(records, *response);
  for (const std::string& alarm : health.alarms) response->add_alarms(alarm);
  if (const auto pem = ReadTextFile(config.member.certificate))
    response->set_certificate_days_left(DaysLeft(*pem, Now()).value_or(0));
  return grpc::Status::OK;
}

// Reads the files anew when they change.
std::shared_ptr<grpc::ServerCredentials> JoinCredentials(const cluster::ClusterConfig& config) {
  constexpr unsigned kRefreshSeconds = 1;
  const std::string& own = config.member.certificate;
  tls::TlsServerCredentialsOptions options(
      std::make_shared<tls::FileWatcherCertificateProvider>(own, own, config.ca, kRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  // Who joins has none yet.
  options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  options.set_check_call_host(false);
  return tls::TlsServerCredentials(options);
}

void Limit(grpc::ServerBuilder& builder) {
  grpc::ResourceQuota quota("member");
  quota.SetMaxThreads(kMostThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMostMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

class GrpcServers : public Servers {
 public:
  GrpcServers(SharedConfig* config, Admission* admission, Care* care)
      : joining_(admission), control_(config, admission, care) {}
  ~GrpcServers() override {
    const auto end = std::chrono::system_clock::now() + kEndPatience;
    for (auto* const server : {join_server_.get(), control_server_.get()})
      if (server != nullptr) server->Shutdown(end);
  }

  Status BeginJoin(const cluster::ClusterConfig& config) {
    const std::string at = HostPort(config.member.address, config.member.join_port);
    grpc::ServerBuilder builder;
    Limit(builder);
    int port = 0;
    builder.AddListeningPort(at, JoinCredentials(config), &port);
    builder.RegisterService(&joining_);
    join_server_ = builder.BuildAndStart();
    if (!join_server_ || port == 0)
      return MakeError(Code::kUnavailable, fmt::format("join port: cannot listen at {}", at));
    return {};
  }
  Status BeginControl(const cluster::ClusterConfig& config) {
    const std::string path = config.run_dir + "/member.sock";
    static_cast<void>(unlink(path.c_str()));
    const mode_t before = umask(0177);
    grpc::ServerBuilder builder;
    Limit(builder);
    builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
    builder.RegisterService(&control_);
    control_server_ = builder.BuildAndStart();
    umask(before);
    if (!control_server_)
      return MakeError(Code::kUnavailable, fmt::format("cannot listen at {}", path));
    return {};
  }

 private:
  JoiningService joining_;
  ControlService control_;
  std::unique_ptr<grpc::Server> join_server_;
  std::unique_ptr<grpc::Server> control_server_;
};

}  // namespace

Result<std::unique_ptr<Servers>> BeginServers(SharedConfig* config, Admission* admission,
                                              Care* care) {
  auto servers = std::make_unique<GrpcServers>(config, admission, care);
  const cluster::ClusterConfig now = config->Get();
  if (now.role == cluster::Role::kNode) RETURN_IF_ERROR(servers->BeginJoin(now));
  RETURN_IF_ERROR(servers->BeginControl(now));
  return std::unique_ptr<Servers>(std::move(servers));
}

}  // namespace gemel::member
