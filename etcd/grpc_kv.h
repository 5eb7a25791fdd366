// Kv by etcd's gRPC API. One thread of its own ("etcd") waits for gRPC and posts to the owner's loop;
// all else happens on that loop's thread.
//
// Each call has a deadline and asks one member; when that fails, its channel is thrown away, and the
// next call asks the next member. A channel that failed is never used again: one through a dead member
// hangs for seconds (9 s measured), by which time a node would have fenced itself. Connecting has more
// time than a call (grpc_channels.h).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "etcd/kv.h"

namespace gemel::etcd {

struct GrpcKvOptions {
  std::vector<std::string> endpoints;  // as GrpcTarget takes them; the nearest first
  // PEM texts. All empty: no TLS, for a socket or loopback alone.
  std::string ca;
  std::string certificate;
  std::string key;
  std::int64_t call_deadline_ms = 300;
};

class GrpcKvClient : public Kv {
 public:
  // Other members or certificates for what is begun from now on; what is under way goes on with the old
  // ones. An error, as CreateGrpcKv's, changes nothing.
  virtual Status Update(const GrpcKvOptions& options) = 0;
};

// Connects to nothing yet. kInvalidArgument names the endpoint, or what is missing. The loop outlives
// it, and it outlives each Following. When it ends, calls under way are dropped without a word.
Result<std::unique_ptr<GrpcKvClient>> CreateGrpcKv(EventLoop* loop, const GrpcKvOptions& options);

}  // namespace gemel::etcd
