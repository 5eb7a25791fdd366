// gemel-member's two servers: the join port (a node's alone), and the socket of this machine. gRPC's
// threads call Admission, which takes them one at a time.
#pragma once
#include <memory>

#include "base/result.h"
#include "member/admission.h"
#include "member/care.h"
#include "member/shared_config.h"

namespace gemel::member {

class Servers {
 public:
  virtual ~Servers() = default;
};

// Serves until it is destroyed. All outlive it.
Result<std::unique_ptr<Servers>> BeginServers(SharedConfig* config, Admission* admission,
                                              Care* care);

}  // namespace gemel::member
