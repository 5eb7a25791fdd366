#include "etcd/grpc_kv.h"

#include <utility>

#include "etcd/endpoints.h"
#include "etcd/grpc_io.h"
#include "etcd/grpc_stream.h"
#include "proto/etcd/rpc.grpc.pb.h"

namespace gemel::etcd {
namespace {

etcdserverpb::TxnRequest ToWire(KvTxn txn) {
  etcdserverpb::TxnRequest request;
  for (KvTxn::Compare& compare : txn.compares) {
    etcdserverpb::Compare& to = *request.add_compare();
    to.set_result(etcdserverpb::Compare::EQUAL);
    to.set_target(etcdserverpb::Compare::MOD);
    to.set_key(std::move(compare.key));
    to.set_mod_revision(compare.changed);
  }
  for (KvTxn::Put& put : txn.puts) {
    etcdserverpb::PutRequest& to = *request.add_success()->mutable_request_put();
    to.set_key(std::move(put.key));
    to.set_value(std::move(put.value));
  }
  for (std::string& key : txn.deletes)
    request.add_success()->mutable_request_delete_range()->set_key(std::move(key));
  return request;
}

struct TxnCall : Cancellable {
  grpc::ClientContext context;
  etcdserverpb::TxnResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::TxnResponse>> reader;
  void Cancel() override { context.TryCancel(); }
};

class GrpcKv : public GrpcKvClient {
 public:
  explicit GrpcKv(std::unique_ptr<GrpcIo> io)
      : channels_(io->members()),
        calls_(io->members()),
        streams_(io->members()),
        io_(std::move(io)) {}

  void Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) override;
  Status Update(const GrpcKvOptions& options) override {
    RETURN_IF_ERROR(io_->Update(options));
    channels_.assign(io_->members(), nullptr);
    calls_ = EndpointRing(io_->members());
    streams_ = EndpointRing(io_->members());
    return {};
  }
  std::unique_ptr<Following> Follow(KeyRange range, Follower follower) override {
    const std::size_t member = streams_.current();
    return StartGrpcStream(io_.get(), member, std::move(range), std::move(follower),
                           [this, member] { streams_.OnFailure(member); });
  }

 private:
  void OnFailure(std::size_t member, const std::shared_ptr<grpc::Channel>& channel) {
    calls_.OnFailure(member);
    // After an Update another may be in its place, or none.
    if (member < channels_.size() && channels_[member] == channel) channels_[member].reset();
  }

  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // of single calls; made when needed
  EndpointRing calls_;
  EndpointRing streams_;
  std::unique_ptr<GrpcIo> io_;  // last, so first to end: no callback finds the rest gone
};

void GrpcKv::Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) {
  const std::size_t member = calls_.current();
  std::shared_ptr<grpc::Channel>& channel = channels_[member];
  if (!channel) channel = io_->NewChannel(member);
  const auto call = std::make_shared<TxnCall>();
  call->context.set_deadline(io_->Deadline());
  call->reader = etcdserverpb::KV::NewStub(channel)->PrepareAsyncTxn(
      &call->context, ToWire(std::move(txn)), io_->queue());
  io_->Remember(call);
  call->reader->StartCall();
  call->reader->Finish(
      &call->response, &call->status,
      GrpcIo::TagOf([this, call, member, channel, done = std::move(done)](bool /*good*/) {
        if (!call->status.ok()) {
          OnFailure(member, channel);
          return done(std::unexpected(io_->ErrorOf(member, call->status)));
        }
        done(KvTxnAnswer{call->response.succeeded(), call->response.header().revision()});
      }));
}

}  // namespace

Result<std::unique_ptr<GrpcKvClient>> CreateGrpcKv(EventLoop* loop, const GrpcKvOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<GrpcIo> io, GrpcIo::Create(loop, options));
  return std::unique_ptr<GrpcKvClient>(std::make_unique<GrpcKv>(std::move(io)));
}

}  // namespace gemel::etcd
