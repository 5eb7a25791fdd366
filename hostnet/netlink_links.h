// Links over rtnetlink, by libnl. One thread.
#pragma once
#include <memory>

#include "base/result.h"
#include "hostnet/links.h"

namespace gemel::hostnet {

Result<std::unique_ptr<Links>> OpenNetlinkLinks();

}  // namespace gemel::hostnet
