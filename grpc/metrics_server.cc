#include "grpc/metrics_server.h"

#include <prometheus/exposer.h>

#include <exception>
#include <utility>

#include "base/log.h"

namespace gemel::daemon {

MetricsServer::MetricsServer() = default;
MetricsServer::~MetricsServer() = default;

Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& listen, std::vector<std::shared_ptr<prometheus::Collectable>> collectables) {
  std::unique_ptr<MetricsServer> made(new MetricsServer);
  made->collectables_ = std::move(collectables);
  // Its library throws, and here alone.
  try {
    made->exposer_ = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", listen, "num_threads", "2", "request_timeout_ms", "10000"});
  } catch (const std::exception& error) {
    return FailedPrecondition(
        "metrics.listen: {}: cannot listen there: another program has the port, or the address is "
        "not one of this host's ({})",
        listen, error.what());
  }
  for (const auto& collectable : made->collectables_)
    made->exposer_->RegisterCollectable(collectable);
  const std::vector<int> ports = made->exposer_->GetListeningPorts();
  LOG_UNLIMITED(kInfo, "metrics", "http://{}:{}/metrics", listen.substr(0, listen.rfind(':')),
                ports.empty() ? 0 : ports.front());
  return made;
}

}  // namespace gemel::daemon
