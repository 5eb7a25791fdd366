#include "grpc/api_metrics.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/status.h>

#include <algorithm>

#include "base/result.h"
#include "grpc/access/audit_log.h"

namespace gemel::daemon {
namespace {

using Clock = std::chrono::steady_clock;
namespace interception = grpc::experimental;

constexpr int kCodes = 17;

const prometheus::Histogram::BucketBoundaries& Buckets() {
  static const prometheus::Histogram::BucketBoundaries seconds = {
      0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};
  return seconds;
}

// Of one call; gRPC calls it on whichever of its threads, one at a time.
class Stopwatch final : public interception::Interceptor {
 public:
  Stopwatch(ApiMetrics* metrics, const interception::ServerRpcInfo& info)
      : metrics_(metrics),
        path_(info.method()),
        unary_(info.type() == interception::ServerRpcInfo::Type::UNARY) {}
  // Without a status: the client went away.
  ~Stopwatch() override {
    if (!told_) Tell(grpc::StatusCode::CANCELLED);
  }

  void Intercept(interception::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(interception::InterceptionHookPoints::PRE_SEND_STATUS))
      Tell(methods->GetSendStatus().error_code());
    methods->Proceed();
  }

 private:
  void Tell(int code) {
    told_ = true;
    if (unary_)
      metrics_->Unary(path_, code, Clock::now() - begun_);
    else
      metrics_->Stream(path_, code);
  }

  ApiMetrics* const metrics_;
  const std::string path_;
  const bool unary_;
  const Clock::time_point begun_ = Clock::now();
  bool told_ = false;
};

class Stopwatches final : public interception::ServerInterceptorFactoryInterface {
 public:
  explicit Stopwatches(ApiMetrics* metrics) : metrics_(metrics) {}
  interception::Interceptor* CreateServerInterceptor(interception::ServerRpcInfo* info) override {
    return new Stopwatch(metrics_, *info);  // gRPC's from here on
  }

 private:
  ApiMetrics* const metrics_;
};

}  // namespace

std::string MethodLabel(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  std::string name(path);
  std::replace(name.begin(), name.end(), '/', '.');
  if (google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name) == nullptr)
    return "other";
  constexpr std::string_view kOurs = "gemel.v1.";
  if (path.starts_with(kOurs)) path.remove_prefix(kOurs.size());
  return std::string(path);
}

std::string_view CodeLabel(int code) {
  return access::CodeName(code >= 0 && code < kCodes ? static_cast<Code>(code) : Code::kUnknown);
}

ApiMetrics::ApiMetrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      unary_(prometheus::BuildHistogram()
                 .Name("gemel_api_request_seconds")
                 .Help("How long calls of the API took, from their arrival to their answer.")
                 .Register(*registry_)),
      streams_(prometheus::BuildCounter()
                   .Name("gemel_api_streams_total")
                   .Help("Streams of the API that have ended.")
                   .Register(*registry_)) {}

void ApiMetrics::Unary(std::string_view path, int code, std::chrono::duration<double> took) {
  unary_.Add({{"method", MethodLabel(path)}, {"code", std::string(CodeLabel(code))}}, Buckets())
      .Observe(took.count());
}

void ApiMetrics::Stream(std::string_view path, int code) {
  streams_.Add({{"method", MethodLabel(path)}, {"code", std::string(CodeLabel(code))}}).Increment();
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
ApiMetrics::MakeInterceptors() {
  return std::make_unique<Stopwatches>(this);
}

}  // namespace gemel::daemon
