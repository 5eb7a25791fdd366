#include "storage/claim_session.h"

#include <sys/epoll.h>

#include <utility>

namespace gemel::storage {

Result<std::unique_ptr<ClaimSession>> ClaimSession::Begin(EventLoop* loop, UniqueFd dialer,
                                                          const block::IscsiAddress& address,
                                                          const block::IscsiNexus& nexus) {
  block::IscsiOptions options;
  options.dialer = std::move(dialer);
  options.address = address;
  options.nexus = nexus;
  options.claims_only = true;
  options.open_timeout = std::chrono::milliseconds(0);
  options.patience = std::chrono::milliseconds(1'000);
  ASSIGN_OR_RETURN(std::unique_ptr<block::IscsiDisk> disk, block::OpenIscsi(std::move(options)));
  std::unique_ptr<ClaimSession> session(new ClaimSession(loop, std::move(disk)));
  RETURN_IF_ERROR(loop->Watch(session->disk_->completion_fd(), EPOLLIN,
                              [raw = session.get()](std::uint32_t) { raw->disk_->Reap({}); }));
  return session;
}

ClaimSession::ClaimSession(EventLoop* loop, std::unique_ptr<block::IscsiDisk> disk)
    : loop_(loop), disk_(std::move(disk)), alive_(std::make_shared<ClaimSession*>(this)) {}

ClaimSession::~ClaimSession() { loop_->Unwatch(disk_->completion_fd()); }

// The disk answers in the middle of its work, where it must not be destroyed.
void ClaimSession::Reserve(const block::ReservationCommand& command, Done done) {
  disk_->Reserve(command, [this, weak = std::weak_ptr(alive_),
                           done = std::move(done)](block::ReservationAnswer answer) {
    loop_->Post([weak, done, answer = std::move(answer)]() mutable {
      if (!weak.expired()) done(std::move(answer));
    });
  });
}

}  // namespace gemel::storage
