#include "grpc/disk_upload_call.h"

#include <memory>
#include <utility>

#include "base/clock.h"
#include "grpc/access/server_tls.h"
#include "grpc/disk_upload.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kMethod = "Disks/Upload";
constexpr std::size_t kMaxData = 1 << 20;
constexpr std::size_t kDigestDigits = 64;
constexpr int kMostUploads = 16;  // of this node at once
constexpr std::int64_t kLookMs = 10'000;
constexpr std::int64_t kIdleMs = 60'000;  // a client that says nothing for so long is gone

// One step at a time: reading, or on a loop. Each step begins the next or ends the call.
class UploadReactor final : public grpc::ServerReadReactor<v1::UploadDiskRequest> {
 public:
  UploadReactor(UploadContext* uploads, grpc::CallbackServerContext* context,
                v1::Operation* response)
      : uploads_(uploads), context_(context), response_(response) {
    ++uploads_->under_way;
    {
      const MutexLock lock(watch_->mutex);
      watch_->context = context;
    }
    WatchIdle(uploads_->services->timers, uploads_->services->loop, watch_);
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    watch_->last_ms = MonotonicMs();
    if (!ok) return OnWorker([this] { Complete(); });
    if (request_.has_create() == caller_.has_value())
      return End(InvalidField("create", caller_ ? "only first" : "missing: it comes first"));
    if (!caller_) return Admit();
    OnWorker([this] { Take(); });
  }
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override {
    {
      const MutexLock lock(watch_->mutex);
      watch_->context = nullptr;
    }
    --uploads_->under_way;
    // The file goes on the thread that may wait for it.
    uploads_->worker->Post([upload = std::shared_ptr<DiskUpload>(std::move(upload_))] {});
    delete this;
  }

 private:
  // Ends the call of a client that says nothing. Outlives it.
  struct Watch {
    std::atomic<std::int64_t> last_ms{MonotonicMs()};
    Mutex mutex;
    grpc::CallbackServerContext* context GUARDED_BY(mutex) = nullptr;  // null: over
  };
  static void WatchIdle(Timers* timers, EventLoop* loop, const std::shared_ptr<Watch>& watch) {
    loop->Post([timers, loop, watch] {
      timers->After(kLookMs, [timers, loop, watch] {
        const MutexLock lock(watch->mutex);
        if (watch->context == nullptr) return;
        if (MonotonicMs() - watch->last_ms > kIdleMs) return watch->context->TryCancel();
        WatchIdle(timers, loop, watch);
      });
    });
  }

  void OnWorker(std::function<void()> step) { uploads_->worker->Post(std::move(step)); }
  ServiceContext* services() const { return uploads_->services; }

  void Admit() {
    create_ = std::move(*request_.mutable_create());
    auto caller =
        services()->gate->Admit(*context_, kMethod, access::Permission::kChange, create_.parent());
    if (!caller) return EndRecorded(ToGrpc(caller.error()));
    caller_ = std::move(*caller);
    facts_ = access::FactsOf(*context_);
    if (auto good = CheckRequestId(create_.request_id()); !good) return End(good.error());
    if (uploads_->under_way > kMostUploads)
      return End(MakeApiError(Code::kUnavailable, "OVERLOADED",
                              fmt::format("{} uploads are under way; try again", kMostUploads)));
    if (create_.disk().pool().empty()) create_.mutable_disk()->set_pool("default");
    call_ = {caller_->name, "Upload", create_.request_id(), FingerprintOf(kMethod, create_),
             create_.validate_only()};
    services()->loop->Post([this] {
      services()->manager->CheckUpload(call_, create_, [this](ApiResult<v1::Operation> result) {
        if (!result) return End(result.error());
        // Carried out already, or not to be.
        if (!result->name().empty() || call_.validate_only) return Succeed(*result);
        OnWorker([this] { Begin(); });
      });
    });
  }

  void Begin() {
    uid_ = NewUuid();
    const bool full = create_.disk().allocation() == v1::ALLOCATION_FULL;
    auto upload = DiskUpload::Begin(
        uploads_->pools, {create_.disk().pool(), uid_, create_.disk().size_bytes(), full});
    if (!upload) return End(FromError(upload.error(), "DISK_FAILED"));
    upload_ = std::move(*upload);
    StartRead(&request_);
  }

  void Take() {
    if (const Status still = services()->gate->doorman().StillAdmitted(
            facts_, DescribeCall(kMethod, access::Permission::kChange, create_.parent()));
        !still)
      return End(FromError(still.error(), access::CodeName(still.error().code)));
    if (!sha256_.empty()) return End(InvalidField("sha256", "it comes last"));
    if (request_.part_case() == v1::UploadDiskRequest::kSha256) {
      sha256_ = request_.sha256();
      if (sha256_.size() != kDigestDigits)
        return End(InvalidField(
            "sha256", fmt::format("{} bytes are not 64 hexadecimal digits", sha256_.size())));
      return StartRead(&request_);
    }
    if (request_.data().size() > kMaxData)
      return End(InvalidField(
          "data", fmt::format("{} bytes are more than {}", request_.data().size(), kMaxData)));
    if (const Status taken = upload_->Append(request_.data()); !taken)
      return End(FailureOf(taken.error()));
    StartRead(&request_);
  }

  // The client has said all, or is gone.
  void Complete() {
    if (cancelled_ || context_->IsCancelled()) return Break();
    if (upload_ == nullptr) return End(InvalidField("create", "missing: it comes first"));
    if (const Status whole = upload_->Finish(sha256_); !whole) return End(FailureOf(whole.error()));
    services()->loop->Post([this] {
      if (cancelled_) return Break();
      // From here on the file is the record's, or, if there is none, of nobody.
      services()->manager->FinishUpload(call_, create_, uid_,
                                        [this](ApiResult<v1::Operation> result) {
                                          if (!result) return End(result.error());
                                          if (result->metadata().target_uid() == uid_)
                                            upload_->Keep();
                                          Succeed(*result);
                                        });
    });
  }

  static ApiError FailureOf(const Error& error) {
    if (error.code != Code::kInvalidArgument) return FromError(error, "DISK_FAILED");
    return InvalidField("data", error.message);
  }

  void Break() {
    End(MakeApiError(Code::kCancelled, "CANCELLED", "the stream broke; nothing is left of it"));
  }
  void End(const ApiError& error) {
    if (caller_)
      services()->gate->Record(*caller_, kMethod, create_.parent(), create_.request_id(), &error);
    EndRecorded(ToGrpc(error));
  }
  void Succeed(const v1::Operation& operation) {
    services()->gate->Record(*caller_, kMethod, create_.parent(), create_.request_id(), nullptr);
    *response_ = operation;
    EndRecorded(grpc::Status::OK);
  }
  void EndRecorded(grpc::Status status) {
    services()->gate->WhenRecorded([this, status = std::move(status)] { Finish(status); });
  }

  UploadContext* const uploads_;
  grpc::CallbackServerContext* const context_;
  v1::Operation* const response_;
  const std::shared_ptr<Watch> watch_ = std::make_shared<Watch>();
  std::atomic<bool> cancelled_{false};
  v1::UploadDiskRequest request_;
  v1::CreateDiskRequest create_;
  std::optional<access::Caller> caller_;
  access::PeerFacts facts_;
  CallInfo call_;
  std::string uid_;
  std::string sha256_;
  std::unique_ptr<DiskUpload> upload_;
};

}  // namespace

grpc::ServerReadReactor<v1::UploadDiskRequest>* BeginUpload(UploadContext* uploads,
                                                            grpc::CallbackServerContext* context,
                                                            v1::Operation* response) {
  return new UploadReactor(uploads, context, response);
}

}  // namespace gemel::daemon
