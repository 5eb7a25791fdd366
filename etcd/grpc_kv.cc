#include "etcd/grpc_kv.h"

#include <utility>

#include "etcd/grpc_channels.h"
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
      : calls_(io.get()), streams_(io.get()), io_(std::move(io)) {}

  void Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) override;
  Status Update(const GrpcKvOptions& options) override {
    RETURN_IF_ERROR(io_->Update(options));
    calls_.Reset();
    streams_.Reset();
    return {};
  }
  std::unique_ptr<Following> Follow(KeyRange range, Follower follower) override {
    const GrpcChannels::Way way = streams_.Choose();
    return StartGrpcStream(io_.get(), way.member, way.channel, std::move(range),
                           std::move(follower), [this, way] { streams_.OnFailure(way); });
  }

 private:
  GrpcChannels calls_;
  GrpcChannels streams_;
  std::unique_ptr<GrpcIo> io_;  // last, so first to end: no callback finds the rest gone
};

void GrpcKv::Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) {
  const GrpcChannels::Way way = calls_.Choose();
  const auto call = std::make_shared<TxnCall>();
  call->context.set_deadline(io_->Deadline());
  call->reader = etcdserverpb::KV::NewStub(way.channel)
                     ->PrepareAsyncTxn(&call->context, ToWire(std::move(txn)), io_->queue());
  io_->Remember(call);
  call->reader->StartCall();
  call->reader->Finish(
      &call->response, &call->status,
      GrpcIo::TagOf([this, call, way, done = std::move(done)](bool /*good*/) {
        if (!call->status.ok()) {
          calls_.OnFailure(way);
          return done(std::unexpected(io_->ErrorOf(way.member, call->status)));
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
