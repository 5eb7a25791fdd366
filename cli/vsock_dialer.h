// Connects to sockets of the host for a guest: the other end of virtio/vsock/dial.h.
#pragma once
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::cli {

class VsockDialer {
 public:
  // Serves `socket` on `loop`, which outlives it: a request for port P is answered with a
  // connection to "<path>_P", never to anything else. Whoever asks is not trusted; what breaks the
  // rules ends the service.
  static Result<std::unique_ptr<VsockDialer>> Create(UniqueFd socket, std::string path,
                                                     EventLoop* loop);
  ~VsockDialer();

 private:
  VsockDialer(UniqueFd socket, std::string path, EventLoop* loop)
      : socket_(std::move(socket)), path_(std::move(path)), loop_(loop) {}
  void OnRequests();
  // False if the other end is gone, or does not take its answers.
  bool Serve();

  UniqueFd socket_;
  const std::string path_;
  EventLoop* const loop_;
};

}  // namespace gemel::cli
