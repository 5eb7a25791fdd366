// The host's end of one connection: a connected stream socket that never blocks, and the bytes from
// the guest that it has not taken yet.
//
// Whoever owns it watches fd() for both directions, edge-triggered, and passes the events on. One
// thread.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/unique_fd.h"

namespace gemel::virtio {

class HostStream {
 public:
  explicit HostStream(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }

  // Epoll's events as they came. What they say of the far end's going is not believed but looked
  // up: a descriptor's number may have been another's when they were collected.
  void OnEvents(std::uint32_t events);

  // ---- guest to host
  // Takes all of [skip, skip + length) of `from`: the socket gets what it can, we keep the rest.
  // Returns how many bytes are not kept, which is all of them once the far end is gone.
  std::size_t Write(std::span<const iovec> from, std::size_t skip, std::size_t length);
  std::size_t Write(std::span<const std::byte> bytes);
  // Sends what is kept, as far as it goes; returns how many bytes are not kept any more.
  std::size_t Flush();
  std::size_t kept() const { return kept_.size() - kept_start_; }
  // No more comes from the guest: the far end reads an end after what is kept.
  void FinishWriting();
  // The far end takes no more; what is written is dropped.
  bool refuses() const { return refuses_; }

  // ---- host to guest
  bool readable() const { return readable_ && !ended_; }
  // Reads into `to`; 0 if there is nothing, or no more. Clears readable() then.
  std::size_t Read(std::span<iovec> to);
  // Everything the far end sent has been read, and no more will come.
  bool ended() const { return ended_; }
  // What the far end still sends is not wanted.
  void FinishReading();

 private:
  std::size_t Send(std::span<iovec> iov);
  void Keep(std::span<const iovec> from, std::size_t skip, std::size_t length);
  std::size_t DropKept();
  void FinishWritingIfFlushed();

  UniqueFd fd_;
  std::vector<std::byte> kept_;  // from kept_start_ on; its memory goes when it is empty
  std::size_t kept_start_ = 0;
  bool readable_ = true;
  bool writable_ = true;
  bool refuses_ = false;
  bool ended_ = false;
  bool finish_writing_ = false;
  bool write_end_told_ = false;
};

}  // namespace gemel::virtio
