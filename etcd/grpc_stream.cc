#include "etcd/grpc_stream.h"

#include <utility>

#include "proto/etcd/rpc.grpc.pb.h"

namespace gemel::etcd {
namespace {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;

// Keys in one answer. Thousands of machines are megabytes: in one piece, to many nodes at once, they
// would take longer than a call may, and hold up heartbeats.
constexpr std::int64_t kPage = 500;

KeyValue FromWire(mvccpb::KeyValue& from) {
  return {std::move(*from.mutable_key()), std::move(*from.mutable_value()), from.mod_revision()};
}

// Lives as long as an operation of its is under way (each holds it), or its handle.
class Stream : public Cancellable, public std::enable_shared_from_this<Stream> {
 public:
  Stream(GrpcIo* io, std::size_t member, std::shared_ptr<grpc::Channel> channel, KeyRange range,
         Kv::Follower follower, std::function<void()> failed)
      : io_(io),
        member_(member),
        channel_(std::move(channel)),
        range_(std::move(range)),
        follower_(std::move(follower)),
        failed_(std::move(failed)) {}

  void Read();
  // No callback comes after this.
  void Drop() {
    if (!over_) failed_();
    over_ = true;
    Cancel();
  }
  void Cancel() override {
    if (read_context_) read_context_->TryCancel();
    context_.TryCancel();
  }

 private:
  using Handler = void (Stream::*)(bool good);
  void* Then(Handler handler) {
    return GrpcIo::TagOf([self = shared_from_this(), handler](bool good) {
      if (!self->over_) ((*self).*handler)(good);
    });
  }
  void OnRead(bool good);
  void Watch();
  void OnStarted(bool good);
  void OnWritten(bool good);
  void OnResponse(bool good);
  void OnFinished(bool good);
  void Next() { watch_->Read(&response_, Then(&Stream::OnResponse)); }
  void Finish();
  void End(const Error& why);

  GrpcIo* io_;
  std::size_t member_;
  std::shared_ptr<grpc::Channel> channel_;
  KeyRange range_;
  Kv::Follower follower_;
  std::function<void()> failed_;
  bool over_ = false;
  bool finishing_ = false;

  KvSnapshot snapshot_;                                // as far as it was read
  std::unique_ptr<grpc::ClientContext> read_context_;  // of one page
  etcdserverpb::RangeResponse page_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>> reader_;
  grpc::ClientContext context_;
  WatchRequest request_;
  WatchResponse response_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<WatchRequest, WatchResponse>> watch_;
  grpc::Status status_;
};

// The first page is not `serializable`: a majority answers, so that nothing older than what was known
// is shown. The others are of that revision, which the member that is asked has by then.
void Stream::Read() {
  etcdserverpb::RangeRequest request;
  request.set_key(snapshot_.keys.empty() ? range_.first : snapshot_.keys.back().key + '\0');
  request.set_range_end(range_.end);
  request.set_limit(kPage);
  request.set_revision(snapshot_.revision);
  request.set_serializable(snapshot_.revision != 0);
  page_.Clear();
  read_context_ = std::make_unique<grpc::ClientContext>();
  read_context_->set_deadline(io_->Deadline());
  reader_ = etcdserverpb::KV::NewStub(channel_)->PrepareAsyncRange(read_context_.get(), request,
                                                                   io_->queue());
  reader_->StartCall();
  reader_->Finish(&page_, &status_, Then(&Stream::OnRead));
}

void Stream::OnRead(bool /*good*/) {
  if (!status_.ok()) return End(io_->ErrorOf(member_, status_));
  if (snapshot_.revision == 0) snapshot_.revision = page_.header().revision();
  for (mvccpb::KeyValue& found : *page_.mutable_kvs()) snapshot_.keys.push_back(FromWire(found));
  if (page_.more() && page_.kvs_size() > 0) {
    Read();
    return follower_.on_events({});
  }
  page_.Clear();
  Watch();
  follower_.on_snapshot(std::move(snapshot_));
}

void Stream::Watch() {
  etcdserverpb::WatchCreateRequest& create = *request_.mutable_create_request();
  create.set_key(range_.first);
  create.set_range_end(range_.end);
  create.set_start_revision(snapshot_.revision + 1);
  // The member ends the stream when it has been without a leader for a while.
  context_.AddMetadata("hasleader", "true");
  watch_ = etcdserverpb::Watch::NewStub(channel_)->PrepareAsyncWatch(&context_, io_->queue());
  watch_->StartCall(Then(&Stream::OnStarted));
}

void Stream::OnStarted(bool good) {
  if (!good) return Finish();
  watch_->Write(request_, Then(&Stream::OnWritten));
}

void Stream::OnWritten(bool good) {
  if (!good) return Finish();
  Next();
}

// The next answer is asked for when this one was taken: a slow follower does not fill our memory.
void Stream::OnResponse(bool good) {
  if (!good) return Finish();
  if (response_.canceled())
    return End({Code::kAborted, fmt::format("etcd at {}: the watch was ended: {} (compacted at {})",
                                            io_->target(member_), response_.cancel_reason(),
                                            response_.compact_revision())});
  std::vector<KeyEvent> events;
  for (mvccpb::Event& event : *response_.mutable_events())
    events.push_back({FromWire(*event.mutable_kv()), event.type() == mvccpb::Event::DELETE});
  Next();
  follower_.on_events(std::move(events));
}

void Stream::Finish() {
  if (std::exchange(finishing_, true)) return;
  watch_->Finish(&status_, Then(&Stream::OnFinished));
}

void Stream::OnFinished(bool /*good*/) { End(io_->ErrorOf(member_, status_)); }

void Stream::End(const Error& why) {
  over_ = true;
  Cancel();
  failed_();
  follower_.on_end(why);
}

class Handle : public Following {
 public:
  explicit Handle(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~Handle() override { stream_->Drop(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

 private:
  std::shared_ptr<Stream> stream_;
};

}  // namespace

std::unique_ptr<Following> StartGrpcStream(GrpcIo* io, std::size_t member,
                                           std::shared_ptr<grpc::Channel> channel, KeyRange range,
                                           Kv::Follower follower, std::function<void()> failed) {
  const auto stream = std::make_shared<Stream>(io, member, std::move(channel), std::move(range),
                                               std::move(follower), std::move(failed));
  io->Remember(stream);
  stream->Read();
  return std::make_unique<Handle>(stream);
}

}  // namespace gemel::etcd
