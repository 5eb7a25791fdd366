// A console session of a machine that another node has, as this node's stream to that one. It hands on one
// message at a time in each direction, so whoever is slow holds up nobody but itself. All on the loop's
// thread; gRPC's callbacks post to it.
#pragma once
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "proto/gemel/v1/consoles.grpc.pb.h"

namespace gemel::daemon {

class RemoteConsole : public std::enable_shared_from_this<RemoteConsole> {
 public:
  struct Events {
    std::function<void(v1::AttachConsoleResponse)> on_response;  // one for each Next
    std::function<void()> on_written;                            // one for each Write
    std::function<void(const grpc::Status&)> on_end;             // once, last
  };

  // `held` is let go when gRPC calls back no more: until then the loop must run.
  static std::shared_ptr<RemoteConsole> Begin(EventLoop* loop,
                                              const std::shared_ptr<grpc::Channel>& channel,
                                              std::unique_ptr<grpc::ClientContext> context,
                                              Events events, std::shared_ptr<const void> held);
  // Not before the last one was written.
  void Write(v1::AttachConsoleRequest request);
  // Nothing more is written, and what was is not lost. As Write, not before the last one was written.
  void EndOfInput();
  // Asks for a response, unless one was asked for that has not come.
  void Next();
  // Nothing is told from here on.
  void Drop();

 private:
  class Stream;
  explicit RemoteConsole(Events events) : events_(std::move(events)) {}
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnDone(const grpc::Status& status);

  Events events_;
  Stream* stream_ = nullptr;  // its own; null: over
  bool reading_ = false;
  bool broken_ = false;  // nothing more is read or written
  bool dropped_ = false;
};

}  // namespace gemel::daemon
