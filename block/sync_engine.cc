#include "block/sync_engine.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/event_fd.h"
#include "block/bounce_buffer.h"
#include "block/transfer.h"

namespace gemel::block {
namespace {

std::int64_t Perform(int fd, const IoCall& call) {
  const auto offset = static_cast<off_t>(call.offset);
  const int count = static_cast<int>(call.iov.size());
  ssize_t result = -1;
  switch (call.kind) {
    case IoCall::Kind::kRead:
      result = preadv(fd, call.iov.data(), count, offset);
      break;
    case IoCall::Kind::kWrite:
      result = pwritev(fd, call.iov.data(), count, offset);
      break;
    case IoCall::Kind::kAllocate:
      result = fallocate(fd, call.mode, offset, static_cast<off_t>(call.length));
      break;
    case IoCall::Kind::kSync:
      result = fdatasync(fd);
      break;
  }
  return result < 0 ? -errno : result;
}

class SyncEngine : public BlockBackend {
 public:
  SyncEngine(RawFile file, EventFd completion, std::uint32_t depth, Permit* permit)
      : file_(std::move(file)), completion_(std::move(completion)), depth_(depth), permit_(permit) {
    queued_.reserve(depth);
    ready_.reserve(depth);
  }

  std::uint64_t size() const override { return file_.size; }
  bool read_only() const override { return file_.read_only; }
  BlockTopology topology() const override { return file_.topology; }
  std::string_view engine() const override { return "sync"; }
  int completion_fd() const override { return completion_.get(); }
  bool HasRoom() const override { return queued_.size() + ready_.size() - reaped_ < depth_; }

  void Queue(const BlockRequest& request) override {
    CHECK(HasRoom());
    queued_.push_back(request);
  }

  Status Submit() override {
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(reaped_));
    reaped_ = 0;
    auto next = queued_.begin();
    for (; next != queued_.end(); ++next) {
      const std::optional<std::int64_t> result = Run(*next);
      if (!result) break;
      ready_.push_back({.tag = next->tag, .result = *result});
    }
    queued_.erase(queued_.begin(), next);
    return {};
  }

  std::size_t Reap(std::span<BlockCompletion> out) override {
    const std::size_t n = std::min(out.size(), ready_.size() - reaped_);
    std::copy_n(ready_.begin() + static_cast<std::ptrdiff_t>(reaped_), n, out.begin());
    reaped_ += n;
    return n;
  }

 private:
  // Nothing: the permit does not hold.
  std::optional<std::int64_t> Run(const BlockRequest& request) {
    std::optional<std::int64_t> result = transfer_.Begin(file_, request);
    if (!result && transfer_.needs_bounce()) transfer_.LendBounce(bounce_.Get());
    while (!result && Allowed(permit_))
      result = transfer_.Advance(Perform(file_.fd.get(), transfer_.Next()));
    transfer_.TakeBounce();
    return result;
  }

  RawFile file_;
  EventFd completion_;
  std::size_t depth_;
  Permit* const permit_;
  Transfer transfer_;
  BounceBuffer bounce_;
  std::vector<BlockRequest> queued_;
  std::vector<BlockCompletion> ready_;
  std::size_t reaped_ = 0;  // of ready_
};

}  // namespace

Result<std::unique_ptr<BlockBackend>> CreateSyncEngine(RawFile file, std::uint32_t depth,
                                                       Permit* permit) {
  ASSIGN_OR_RETURN(EventFd completion, EventFd::Create());
  return std::make_unique<SyncEngine>(std::move(file), std::move(completion), depth, permit);
}

}  // namespace gemel::block
