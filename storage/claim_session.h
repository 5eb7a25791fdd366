// A session with one disk of a target in which a take-over claims it: it carries the commands of
// StorageClaim and nothing else, on the loop's thread, and never waits.
#pragma once
#include <memory>

#include "base/event_loop.h"
#include "base/result.h"
#include "block/iscsi/disk.h"
#include "storage/claim_driver.h"

namespace gemel::storage {

class ClaimSession final : public ReservationPort {
 public:
  // Logs in by `dialer` (block/iscsi/dial.h), now or as soon as the target is there; a command that is
  // not answered for want of a session is kUnknown, after some seconds.
  static Result<std::unique_ptr<ClaimSession>> Begin(EventLoop* loop, UniqueFd dialer,
                                                     const block::IscsiAddress& address,
                                                     const block::IscsiNexus& nexus);
  ~ClaimSession() override;
  ClaimSession(const ClaimSession&) = delete;
  ClaimSession& operator=(const ClaimSession&) = delete;

  // `done` is not called from within. After this object's end it is not called any more.
  void Reserve(const block::ReservationCommand& command, Done done) override;

  // What the target has shown to be able to do.
  block::FenceStrength strength() const { return disk_->strength(); }

 private:
  ClaimSession(EventLoop* loop, std::unique_ptr<block::IscsiDisk> disk);

  EventLoop* const loop_;
  std::unique_ptr<block::IscsiDisk> disk_;
  const std::shared_ptr<ClaimSession*> alive_;
};

}  // namespace gemel::storage
