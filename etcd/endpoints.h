// Which member of etcd is asked next. Pure; the channels are someone else's.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::etcd {

// "HOST:PORT", "[IPv6]:PORT", "unix:/PATH", as gRPC wants to have it; kInvalidArgument names it.
Result<std::string> GrpcTarget(std::string_view endpoint);

// The first is asked as long as it answers; whoever fails is followed by the next, round and round.
class EndpointRing {
 public:
  explicit EndpointRing(std::size_t count) : count_(count) {}
  std::size_t current() const { return current_; }
  // `which` did not answer. Nothing changes if it is not the current one any more.
  void OnFailure(std::size_t which) {
    if (which == current_) current_ = (current_ + 1) % count_;
  }

 private:
  std::size_t count_;
  std::size_t current_ = 0;
};

}  // namespace gemel::etcd
