// What libiscsi calls instead of the system: it gets a socket that was connected for it, and nothing
// else of the host. It can name no host, open no file and no socket, and read no environment.
//
// Its archive is copied with these calls renamed to gemel_iscsi_… (block/iscsi/meson.build), so that
// not even its code for them is in gemel-vmm: docs/decisions/007.
#pragma once
#include <cstdint>

#include "base/unique_fd.h"
#include "block/iscsi/pdu_guard.h"

namespace gemel::block {

class HostCalls {
 public:
  // A connected stream socket. No call of ours waits, whatever its flags.
  explicit HostCalls(UniqueFd socket) : socket_(std::move(socket)) {}
  HostCalls(const HostCalls&) = delete;
  HostCalls& operator=(const HostCalls&) = delete;

  // Each call into libiscsi is made inside a Scope of its session's HostCalls. One thread.
  class Scope {
   public:
    explicit Scope(HostCalls& calls);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    HostCalls* before_;
  };

  // For the gemel_iscsi_… functions: those of the Scope that this thread is in.
  static HostCalls& Current();

  // Ours throughout: libiscsi is told that it has closed it.
  int socket() const { return socket_.get(); }
  PduGuard& guard() { return guard_; }
  // Why nothing can follow on this connection; nullptr as long as something can.
  const char* broken() const { return broken_; }
  void Break(const char* reason) {
    if (broken_ == nullptr) broken_ = reason;
  }
  std::uint64_t received() const { return received_; }  // bytes
  void CountReceived(std::uint64_t bytes) { received_ += bytes; }

 private:
  UniqueFd socket_;
  PduGuard guard_;
  const char* broken_ = nullptr;
  std::uint64_t received_ = 0;
};

}  // namespace gemel::block
