// GET /metrics over HTTP (prometheus-cpp's exposer, with two threads of its own). Whoever can reach
// the address may read it: names of machines and how busy they are, nothing of what is in them.
#pragma once
#include <prometheus/collectable.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace gemel::daemon {

class MetricsServer {
 public:
  // `listen`: "ADDRESS:PORT"; port 0 is one that is free. kFailedPrecondition if it cannot be had.
  static Result<std::unique_ptr<MetricsServer>> Start(
      const std::string& listen,
      std::vector<std::shared_ptr<prometheus::Collectable>> collectables);
  ~MetricsServer();

 private:
  MetricsServer();

  std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // before them: it asks them on its threads
};

}  // namespace gemel::daemon
