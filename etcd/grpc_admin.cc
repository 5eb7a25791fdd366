#include "etcd/grpc_admin.h"

#include <grpcpp/grpcpp.h>

#include <map>
#include <utility>

#include "base/mutex.h"
#include "etcd/endpoints.h"
#include "proto/etcd/rpc.grpc.pb.h"

namespace gemel::etcd {
namespace {

namespace wire = etcdserverpb;

// A defragmentation holds its member up for so long.
constexpr std::int64_t kDefragmentMs = 30'000;

template <class Service, class Request, class Response>
using Method = grpc::Status (Service::StubInterface::*)(grpc::ClientContext*, const Request&,
                                                        Response*);

MemberInfo FromWire(const wire::Member& member) {
  return {member.id(),
          member.name(),
          {member.peerurls().begin(), member.peerurls().end()},
          {member.clienturls().begin(), member.clienturls().end()},
          member.islearner()};
}

class GrpcAdmin : public Admin {
 public:
  GrpcAdmin(GrpcKvOptions options, std::shared_ptr<grpc::ChannelCredentials> credentials)
      : options_(std::move(options)), credentials_(std::move(credentials)) {}

  Result<std::vector<MemberInfo>> Members() override;
  Result<MemberInfo> AddLearner(const std::string& peer_url) override;
  Status Promote(std::uint64_t id) override;
  Status Remove(std::uint64_t id) override;
  Result<std::vector<AlarmInfo>> Alarms() override;
  Status Disarm(const AlarmInfo& alarm) override;
  Result<KvSnapshot> Read(const KeyRange& range) override;
  Result<KvTxnAnswer> Commit(const KvTxn& txn) override;
  Result<MemberStatus> StatusOf(const std::string& endpoint) override;
  Status MoveLeader(const std::string& leader, std::uint64_t to) override;
  Status Defragment(const std::string& endpoint) override;

 private:
  template <class Service, class Request, class Response>
  Status CallOne(const std::string& endpoint, Method<Service, Request, Response> method,
                 const Request& request, Response* response, std::int64_t deadline_ms) const;
  template <class Service, class Request, class Response>
  Status Call(Method<Service, Request, Response> method, const Request& request,
              Response* response) const;

  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& endpoint,
                                           const std::string& target) const EXCLUDES(mutex_);
  // What failed is asked anew, on a connection of its own.
  void Forget(const std::string& endpoint) const EXCLUDES(mutex_);

  const GrpcKvOptions options_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  mutable Mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<grpc::Channel>> channels_ GUARDED_BY(mutex_);
};

std::shared_ptr<grpc::Channel> GrpcAdmin::ChannelTo(const std::string& endpoint,
                                                    const std::string& target) const {
  const MutexLock lock(mutex_);
  std::shared_ptr<grpc::Channel>& channel = channels_[endpoint];
  if (channel) return channel;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  channel = grpc::CreateCustomChannel(target, credentials_, arguments);
  return channel;
}

void GrpcAdmin::Forget(const std::string& endpoint) const {
  const MutexLock lock(mutex_);
  channels_.erase(endpoint);
}

template <class Service, class Request, class Response>
Status GrpcAdmin::CallOne(const std::string& endpoint, Method<Service, Request, Response> method,
                          const Request& request, Response* response,
                          std::int64_t deadline_ms) const {
  ASSIGN_OR_RETURN(const std::string target, GrpcTarget(endpoint));
  const auto stub = Service::NewStub(ChannelTo(endpoint, target));
  grpc::ClientContext context;
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(deadline_ms, GPR_TIMESPAN)));
  const grpc::Status status = (stub.get()->*method)(&context, request, response);
  if (status.ok()) return {};
  Forget(endpoint);
  return MakeError(static_cast<Code>(status.error_code()),
                   fmt::format("etcd at {}: {}", endpoint, status.error_message()));
}

// Whether another member may know better.
bool MayHelp(Code code) {
  return code == Code::kUnavailable || code == Code::kDeadlineExceeded || code == Code::kUnknown;
}

template <class Service, class Request, class Response>
Status GrpcAdmin::Call(Method<Service, Request, Response> method, const Request& request,
                       Response* response) const {
  Status last = Internal("etcd: no endpoint");
  for (const std::string& endpoint : options_.endpoints) {
    last = CallOne<Service>(endpoint, method, request, response, options_.call_deadline_ms);
    if (last || !MayHelp(last.error().code)) return last;
  }
  return last;
}

Result<std::vector<MemberInfo>> GrpcAdmin::Members() {
  wire::MemberListResponse response;
  RETURN_IF_ERROR(Call<wire::Cluster>(&wire::Cluster::StubInterface::MemberList,
                                      wire::MemberListRequest(), &response));
  std::vector<MemberInfo> members;
  for (const wire::Member& member : response.members()) members.push_back(FromWire(member));
  return members;
}

Result<MemberInfo> GrpcAdmin::AddLearner(const std::string& peer_url) {
  wire::MemberAddRequest request;
  request.add_peerurls(peer_url);
  request.set_islearner(true);
  wire::MemberAddResponse response;
  RETURN_IF_ERROR(
      Call<wire::Cluster>(&wire::Cluster::StubInterface::MemberAdd, request, &response));
  return FromWire(response.member());
}

Status GrpcAdmin::Promote(std::uint64_t id) {
  wire::MemberPromoteRequest request;
  request.set_id(id);
  wire::MemberPromoteResponse response;
  return Call<wire::Cluster>(&wire::Cluster::StubInterface::MemberPromote, request, &response);
}

Status GrpcAdmin::Remove(std::uint64_t id) {
  wire::MemberRemoveRequest request;
  request.set_id(id);
  wire::MemberRemoveResponse response;
  return Call<wire::Cluster>(&wire::Cluster::StubInterface::MemberRemove, request, &response);
}

Result<std::vector<AlarmInfo>> GrpcAdmin::Alarms() {
  wire::AlarmResponse response;
  RETURN_IF_ERROR(Call<wire::Maintenance>(&wire::Maintenance::StubInterface::Alarm,
                                          wire::AlarmRequest(), &response));
  std::vector<AlarmInfo> alarms;
  for (const wire::AlarmMember& alarm : response.alarms())
    alarms.push_back({alarm.memberid(), alarm.alarm() == wire::NOSPACE});
  return alarms;
}

Status GrpcAdmin::Disarm(const AlarmInfo& alarm) {
  wire::AlarmRequest request;
  request.set_action(wire::AlarmRequest::DEACTIVATE);
  request.set_memberid(alarm.member);
  request.set_alarm(alarm.no_space ? wire::NOSPACE : wire::CORRUPT);
  wire::AlarmResponse response;
  return Call<wire::Maintenance>(&wire::Maintenance::StubInterface::Alarm, request, &response);
}

Result<KvSnapshot> GrpcAdmin::Read(const KeyRange& range) {
  wire::RangeRequest request;
  request.set_key(range.first);
  request.set_range_end(range.end);
  wire::RangeResponse response;
  RETURN_IF_ERROR(Call<wire::KV>(&wire::KV::StubInterface::Range, request, &response));
  KvSnapshot snapshot{response.header().revision(), {}};
  for (const mvccpb::KeyValue& one : response.kvs())
    snapshot.keys.push_back({one.key(), one.value(), one.mod_revision()});
  return snapshot;
}

Result<KvTxnAnswer> GrpcAdmin::Commit(const KvTxn& txn) {
  wire::TxnRequest request;
  for (const KvTxn::Compare& compare : txn.compares) {
    wire::Compare& to = *request.add_compare();
    to.set_result(wire::Compare::EQUAL);
    to.set_target(wire::Compare::MOD);
    to.set_key(compare.key);
    to.set_mod_revision(compare.changed);
  }
  for (const KvTxn::Put& put : txn.puts) {
    wire::PutRequest& to = *request.add_success()->mutable_request_put();
    to.set_key(put.key);
    to.set_value(put.value);
  }
  for (const std::string& key : txn.deletes)
    request.add_success()->mutable_request_delete_range()->set_key(key);
  wire::TxnResponse response;
  // Once: what had no answer may have been done.
  Status last = Internal("etcd: no endpoint");
  for (const std::string& endpoint : options_.endpoints) {
    last = CallOne<wire::KV>(endpoint, &wire::KV::StubInterface::Txn, request, &response,
                             options_.call_deadline_ms);
    if (last || last.error().code != Code::kUnavailable) break;
  }
  RETURN_IF_ERROR(std::move(last));
  return KvTxnAnswer{response.succeeded(), response.header().revision()};
}

Result<MemberStatus> GrpcAdmin::StatusOf(const std::string& endpoint) {
  wire::StatusResponse response;
  RETURN_IF_ERROR(CallOne<wire::Maintenance>(endpoint, &wire::Maintenance::StubInterface::Status,
                                             wire::StatusRequest(), &response,
                                             options_.call_deadline_ms));
  return MemberStatus{response.header().member_id(),
                      response.leader(),
                      response.raftappliedindex(),
                      response.dbsize(),
                      response.dbsizeinuse(),
                      response.islearner(),
                      response.version(),
                      {response.errors().begin(), response.errors().end()}};
}

Status GrpcAdmin::MoveLeader(const std::string& leader, std::uint64_t to) {
  wire::MoveLeaderRequest request;
  request.set_targetid(to);
  wire::MoveLeaderResponse response;
  return CallOne<wire::Maintenance>(leader, &wire::Maintenance::StubInterface::MoveLeader, request,
                                    &response, options_.call_deadline_ms);
}

Status GrpcAdmin::Defragment(const std::string& endpoint) {
  wire::DefragmentResponse response;
  return CallOne<wire::Maintenance>(endpoint, &wire::Maintenance::StubInterface::Defragment,
                                    wire::DefragmentRequest(), &response, kDefragmentMs);
}

}  // namespace

Result<std::unique_ptr<Admin>> CreateGrpcAdmin(const GrpcKvOptions& options) {
  if (options.endpoints.empty()) return InvalidArgument("etcd: no endpoint");
  for (const std::string& endpoint : options.endpoints) RETURN_IF_ERROR(GrpcTarget(endpoint));
  auto credentials = options.ca.empty()
                         ? grpc::InsecureChannelCredentials()
                         : grpc::SslCredentials({options.ca, options.key, options.certificate});
  return std::unique_ptr<Admin>(std::make_unique<GrpcAdmin>(options, std::move(credentials)));
}

}  // namespace gemel::etcd
