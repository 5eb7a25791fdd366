// What calls to etcd share: gRPC's queue with the thread that waits for it, channels, and cancelling
// at the end. For etcd/grpc_*.cc alone: gRPC's headers end there.
#pragma once
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "etcd/grpc_kv.h"

namespace gemel::etcd {

// Something with an operation under way at gRPC.
class Cancellable {
 public:
  virtual ~Cancellable() = default;
  virtual void Cancel() = 0;
};

// All but the thread's own function is for the loop's thread.
class GrpcIo {
 public:
  static Result<std::unique_ptr<GrpcIo>> Create(EventLoop* loop, const GrpcKvOptions& options);
  // Cancels what is under way and waits for gRPC to let go of it. No callback comes after that.
  ~GrpcIo();

  // Whom to ask from now on, and with what. An error changes nothing.
  Status Update(const GrpcKvOptions& options);

  std::size_t members() const { return targets_.size(); }
  // For people: after an Update a number may be nobody's.
  std::string target(std::size_t member) const {
    return member < targets_.size() ? targets_[member] : "a former member";
  }
  std::int64_t deadline_ms() const { return deadline_ms_; }
  grpc::CompletionQueue* queue() { return &queue_; }
  // A connection of its own, never one that another channel has failed on. Connects when it is used.
  std::shared_ptr<grpc::Channel> NewChannel(std::size_t member) const;
  // For an operation on queue(): `done` runs once on the loop's thread, and keeps what it captures
  // until then.
  static void* TagOf(std::function<void(bool good)> done);
  void Remember(const std::shared_ptr<Cancellable>& call);
  Error ErrorOf(std::size_t member, const grpc::Status& status) const;
  // CLOCK_MONOTONIC: stepping the wall clock moves no deadline.
  gpr_timespec Deadline() const;

 private:
  GrpcIo(EventLoop* loop, std::vector<std::string> targets, const GrpcKvOptions& options);
  void Serve() noexcept;

  EventLoop* loop_;
  std::vector<std::string> targets_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::int64_t deadline_ms_;
  grpc::CompletionQueue queue_;
  std::vector<std::weak_ptr<Cancellable>> calls_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::thread thread_;
};

}  // namespace gemel::etcd
