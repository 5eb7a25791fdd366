// The host's end of one console port: a pair of descriptors, or a socket that one client at a time
// connects to. Never blocks, holds no bytes.
//
// One thread: the loop's.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::virtio {

class HostEnd {
 public:
  struct Fds {
    UniqueFd listener;  // a listening SOCK_STREAM socket; else the two below
    UniqueFd in;        // what the guest reads; none: nothing comes
    UniqueFd out;       // what the guest writes; none: it is lost
  };

  // `name` is for log lines.
  HostEnd(std::string name, Fds fds) : name_(std::move(name)), fds_(std::move(fds)) {}

  // Watches; `changed` is called when there may be more to read, room to write, or a client has
  // come or gone. For good: `loop` outlives it, and is at rest when it ends.
  void Watch(EventLoop* loop, std::function<void()> changed);

  // Whether anybody is there. What is written to nobody is lost.
  bool connected() const { return in_ >= 0 || out_ >= 0; }
  // Counts who has come: tells one client from the next.
  std::uint64_t client_number() const { return client_number_; }

  bool readable() const { return in_ >= 0 && readable_; }
  // Reads into `to`; 0 if there is nothing now.
  std::size_t Read(std::span<const iovec> to);
  // Writes what fits, at most all of `from`; everything, if nobody is there to take it.
  std::size_t Write(std::span<const iovec> from);
  // Nobody in the guest listens: a client that has left need not wait to be read to the end.
  void DropIfGone();

 private:
  void OnClient();
  void Adopt(int in, int out);
  void OnEvents(std::uint32_t events);
  void Drop();
  bool WatchFd(int fd, std::uint32_t events);

  const std::string name_;
  Fds fds_;
  EventLoop* loop_ = nullptr;
  std::function<void()> changed_;
  UniqueFd client_;
  int in_ = -1;  // where bytes come from and go to; -1: nowhere
  int out_ = -1;
  bool readable_ = false;
  bool writable_ = false;
  bool hung_up_ = false;
  std::uint64_t client_number_ = 0;
};

}  // namespace gemel::virtio
