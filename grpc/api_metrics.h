// How long the API's calls take, by method and code: histograms for /metrics, filled by an interceptor
// that every call passes.
//
// Methods are those of the protos that are linked in, codes are gRPC's: what callers invent is
// "other", so the number of series is bounded.
#pragma once
#include <grpcpp/support/server_interceptor.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace gemel::daemon {

// "VirtualMachines/Get" of "/gemel.v1.VirtualMachines/Get"; "other" for a method that there is not.
std::string MethodLabel(std::string_view path);
// "NOT_FOUND".
std::string_view CodeLabel(int code);

// Any thread.
class ApiMetrics {
 public:
  ApiMetrics();

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  void Unary(std::string_view path, int code, std::chrono::duration<double> took);
  // A stream lives as long as its client likes: it is only counted.
  void Stream(std::string_view path, int code);

  // For ServerBuilder; this outlives the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeInterceptors();

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Histogram>& unary_;
  prometheus::Family<prometheus::Counter>& streams_;
};

}  // namespace gemel::daemon
