// The connections of one kind of call to etcd's members, and who is asked next. A connection that failed is
// thrown away, but one that was still being made when it was needed is given its time: a call has no room
// for the round trips of TCP, TLS and HTTP/2 to a member that is far. For etcd/grpc_*.cc alone.
#pragma once
#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "etcd/endpoints.h"
#include "etcd/grpc_io.h"

namespace gemel::etcd {

// The loop's thread.
class GrpcChannels {
 public:
  // What one call goes by.
  struct Way {
    std::size_t member = 0;
    std::shared_ptr<grpc::Channel> channel;
    bool ready = false;  // it was connected when it was chosen
  };

  // `io` outlives it.
  explicit GrpcChannels(GrpcIo* io);

  Way Choose();
  // The next call goes elsewhere, and there, as everywhere, connecting begins now.
  void OnFailure(const Way& way);
  // Members are others now: all anew.
  void Reset();

 private:
  struct Slot {
    std::shared_ptr<grpc::Channel> channel;
    std::int64_t made_ms = 0;
  };
  void Make(std::size_t member);

  GrpcIo* const io_;
  std::vector<Slot> slots_;
  EndpointRing ring_;
};

}  // namespace gemel::etcd
