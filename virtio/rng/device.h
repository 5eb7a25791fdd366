// The entropy device (virtio 1.2, section 5.4): fills what the driver offers with bytes of the
// host's getrandom(2). It has no configuration space and no features, and its requests have no
// header, so there is neither a config_space.h nor a request.h.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "virtio/device.h"

namespace gemel::virtio {

// `name` names the worker's thread and log lines.
Result<std::unique_ptr<VirtioDevice>> CreateRng(std::string name);

}  // namespace gemel::virtio
