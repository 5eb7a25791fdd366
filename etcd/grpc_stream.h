// One Follow: reads all keys of a range, then follows them. For etcd/grpc_kv.cc.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>

#include "etcd/grpc_io.h"
#include "etcd/kv.h"

namespace gemel::etcd {

// `failed` is called once with the member's number when the stream has ended, or was dropped: either
// way, the next one should ask another. `io` outlives what is returned. The loop's thread.
std::unique_ptr<Following> StartGrpcStream(GrpcIo* io, std::size_t member,
                                           std::shared_ptr<grpc::Channel> channel, KeyRange range,
                                           Kv::Follower follower, std::function<void()> failed);

}  // namespace gemel::etcd
