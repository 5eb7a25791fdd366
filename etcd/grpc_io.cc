#include "etcd/grpc_io.h"

#include <utility>

#include "base/thread.h"
#include "etcd/endpoints.h"

namespace gemel::etcd {
namespace {

constexpr int kMostMessageBytes = 64 << 20;

using OnDone = std::function<void(bool)>;

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const GrpcKvOptions& options) {
  if (options.ca.empty()) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({options.ca, options.key, options.certificate});
}

grpc::ChannelArguments ChannelArguments() {
  grpc::ChannelArguments arguments;
  // Else a new channel to the same address would take over the connection of the one that failed.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // gRPC takes this for how long one attempt may take: three round trips to a witness that is far.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetMaxReceiveMessageSize(kMostMessageBytes);
  return arguments;
}

Result<std::vector<std::string>> TargetsOf(const GrpcKvOptions& options) {
  std::vector<std::string> targets;
  for (const std::string& endpoint : options.endpoints) {
    ASSIGN_OR_RETURN(targets.emplace_back(), GrpcTarget(endpoint));
  }
  if (targets.empty()) return InvalidArgument("etcd: no endpoint");
  const bool any = !options.ca.empty() || !options.certificate.empty() || !options.key.empty();
  if (any && (options.ca.empty() || options.certificate.empty() || options.key.empty()))
    return InvalidArgument("etcd: TLS needs a CA, a certificate and a key");
  return targets;
}

}  // namespace

Result<std::unique_ptr<GrpcIo>> GrpcIo::Create(EventLoop* loop, const GrpcKvOptions& options) {
  ASSIGN_OR_RETURN(std::vector<std::string> targets, TargetsOf(options));
  std::unique_ptr<GrpcIo> io(new GrpcIo(loop, std::move(targets), options));
  ASSIGN_OR_RETURN(io->thread_, StartThread("etcd", [raw = io.get()] { raw->Serve(); }));
  return io;
}

GrpcIo::GrpcIo(EventLoop* loop, std::vector<std::string> targets, const GrpcKvOptions& options)
    : loop_(loop),
      targets_(std::move(targets)),
      credentials_(CredentialsOf(options)),
      deadline_ms_(options.call_deadline_ms) {}

Status GrpcIo::Update(const GrpcKvOptions& options) {
  ASSIGN_OR_RETURN(targets_, TargetsOf(options));
  credentials_ = CredentialsOf(options);
  return {};
}

GrpcIo::~GrpcIo() {
  *alive_ = false;
  for (const std::weak_ptr<Cancellable>& weak : calls_)
    if (const std::shared_ptr<Cancellable> call = weak.lock()) call->Cancel();
  queue_.Shutdown();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<grpc::Channel> GrpcIo::NewChannel(std::size_t member) const {
  return grpc::CreateCustomChannel(targets_[member], credentials_, ChannelArguments());
}

void* GrpcIo::TagOf(OnDone done) { return std::make_unique<OnDone>(std::move(done)).release(); }

void GrpcIo::Remember(const std::shared_ptr<Cancellable>& call) {
  std::erase_if(calls_, [](const std::weak_ptr<Cancellable>& known) { return known.expired(); });
  calls_.push_back(call);
}

Error GrpcIo::ErrorOf(std::size_t member, const grpc::Status& status) const {
  return {static_cast<Code>(status.error_code()),
          fmt::format("etcd at {}: {}", target(member), status.error_message())};
}

gpr_timespec GrpcIo::Deadline() const {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(deadline_ms_, GPR_TIMESPAN));
}

// Until Shutdown, and until nothing is under way any more.
void GrpcIo::Serve() noexcept {
  void* tag = nullptr;
  bool good = false;
  while (queue_.Next(&tag, &good)) {
    std::shared_ptr<OnDone> done(static_cast<OnDone*>(tag));
    loop_->Post([alive = alive_, done = std::move(done), good] {
      if (*alive) (*done)(good);
    });
  }
}

}  // namespace gemel::etcd
