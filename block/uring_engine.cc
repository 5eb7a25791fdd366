#include "block/uring_engine.h"

#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/event_fd.h"
#include "block/bounce_buffer.h"
#include "block/restricted_ring.h"
#include "block/transfer.h"

namespace gemel::block {
namespace {

constexpr std::uint32_t kMaxDepth = 4096;
constexpr std::size_t kBounceBuffers = 4;
// A submission that the kernel has no memory for is tried this often, each time after a turn of the
// event loop, before its requests fail.
constexpr int kMaxSubmitAttempts = 1000;
// One read or write of a single segment; its length field has 32 bits. Longer ones go on as short
// ones.
constexpr std::uint64_t kMaxSingle = 1u << 30;

using SlotIndex = std::uint32_t;

class UringEngine : public BlockBackend {
 public:
  UringEngine(RawFile file, EventFd completion, std::unique_ptr<RestrictedRing> ring,
              std::uint32_t depth, Permit* permit);
  ~UringEngine() override;

  std::uint64_t size() const override { return file_.size; }
  bool read_only() const override { return file_.read_only; }
  BlockTopology topology() const override { return file_.topology; }
  std::string_view engine() const override { return "io_uring"; }
  int completion_fd() const override { return completion_.get(); }
  bool HasRoom() const override { return !free_.empty() && ready_.size() < transfers_.size(); }
  void Queue(const BlockRequest& request) override;
  Status Submit() override;
  std::size_t Reap(std::span<BlockCompletion> out) override;
  std::size_t in_flight() const override { return in_ring_ - io_uring_sq_ready(ring_); }

 private:
  void Start(SlotIndex slot);
  void Prepare(SlotIndex slot);
  void Finish(SlotIndex slot);
  void NextSync();
  std::size_t TakeReady(std::span<BlockCompletion> out);
  std::size_t TakeCompletions(std::span<BlockCompletion> out);
  Status Enter();
  void FailUnsubmitted(int error);
  void WaitForAll();

  RawFile file_;
  EventFd completion_;
  std::unique_ptr<RestrictedRing> ring_holder_;
  io_uring* ring_;  // ring_holder_'s
  Permit* const permit_;
  std::vector<Transfer> transfers_;      // by slot; at most one entry of the ring each
  std::vector<SlotIndex> free_;          // slots without a request
  std::vector<SlotIndex> bounce_queue_;  // slots that wait for a bounce buffer, first come first
  // Linux reports a failed write-back once, to one fdatasync of those that wait for it. So one is
  // in the ring at a time, and those that wait for their turn (here) share its failure through
  // RawFile::flush_error.
  std::vector<SlotIndex> sync_queue_;
  std::optional<SlotIndex> syncing_;
  std::vector<BlockCompletion> ready_;  // completed without the ring
  std::array<BounceBuffer, kBounceBuffers> bounces_;
  std::vector<std::span<std::byte>> free_bounces_;
  std::size_t bounces_used_ = 0;  // of bounces_, the others were never needed
  std::size_t in_ring_ = 0;       // entries prepared whose completion was not taken
  int submit_attempts_ = 0;
};

UringEngine::UringEngine(RawFile file, EventFd completion, std::unique_ptr<RestrictedRing> ring,
                         std::uint32_t depth, Permit* permit)
    : file_(std::move(file)),
      completion_(std::move(completion)),
      ring_holder_(std::move(ring)),
      ring_(ring_holder_->get()),
      permit_(permit),
      transfers_(depth) {
  free_.reserve(depth);
  bounce_queue_.reserve(depth);
  sync_queue_.reserve(depth);
  ready_.reserve(depth);
  free_bounces_.reserve(kBounceBuffers);
  for (SlotIndex slot = depth; slot > 0; --slot) free_.push_back(slot - 1);
}

UringEngine::~UringEngine() { WaitForAll(); }

void UringEngine::Queue(const BlockRequest& request) {
  CHECK(HasRoom());
  const SlotIndex slot = free_.back();
  if (const auto result = transfers_[slot].Begin(file_, request)) {
    ready_.push_back({.tag = request.tag, .result = *result});
    return;
  }
  free_.pop_back();
  Start(slot);
}

void UringEngine::Start(SlotIndex slot) {
  Transfer& transfer = transfers_[slot];
  if (transfer.needs_bounce()) {
    if (free_bounces_.empty() && bounces_used_ < kBounceBuffers)
      free_bounces_.push_back(bounces_[bounces_used_++].Get());
    if (free_bounces_.empty()) {
      bounce_queue_.push_back(slot);
      return;
    }
    transfer.LendBounce(free_bounces_.back());
    free_bounces_.pop_back();
  }
  Prepare(slot);
}

void PrepareVector(io_uring_sqe* sqe, const IoCall& call) {
  const bool write = call.kind == IoCall::Kind::kWrite;
  if (call.iov.size() == 1) {
    const auto length =
        static_cast<unsigned>(std::min<std::uint64_t>(call.iov[0].iov_len, kMaxSingle));
    io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, 0, call.iov[0].iov_base, length,
                     call.offset);
    return;
  }
  io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, 0, call.iov.data(),
                   static_cast<unsigned>(call.iov.size()), call.offset);
}

void UringEngine::Prepare(SlotIndex slot) {
  const IoCall call = transfers_[slot].Next();
  if (call.kind == IoCall::Kind::kSync) {
    if (syncing_ && *syncing_ != slot) return sync_queue_.push_back(slot);
    syncing_ = slot;
  }
  // A slot has one entry at most, and the ring has as many as there are slots.
  io_uring_sqe* sqe = io_uring_get_sqe(ring_);
  CHECK(sqe != nullptr);
  switch (call.kind) {
    case IoCall::Kind::kRead:
    case IoCall::Kind::kWrite:
      PrepareVector(sqe, call);
      break;
    case IoCall::Kind::kAllocate:
      // As io_uring_prep_fallocate, whose arguments are signed.
      io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, 0, nullptr, static_cast<unsigned>(call.mode),
                       call.offset);
      sqe->addr = call.length;
      break;
    case IoCall::Kind::kSync:
      io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
      break;
  }
  sqe->flags = IOSQE_FIXED_FILE;  // descriptor 0 is the registered file 0
  if (transfers_[slot].must_block()) sqe->flags |= IOSQE_ASYNC;
  io_uring_sqe_set_data64(sqe, slot);
  ++in_ring_;
}

Status UringEngine::Submit() {
  submit_attempts_ = 0;
  return Enter();
}

Status UringEngine::Enter() {
  while (io_uring_sq_ready(ring_) > 0 && Allowed(permit_)) {
    const int submitted = io_uring_submit(ring_);
    if (submitted > 0) {
      submit_attempts_ = 0;
      continue;
    }
    if (submitted == -EINTR) continue;
    const bool transient =
        submitted == 0 || submitted == -EAGAIN || submitted == -EBUSY || submitted == -ENOMEM;
    if (transient && ++submit_attempts_ < kMaxSubmitAttempts) {
      completion_.Signal();  // Reap tries again
      return {};
    }
    const int error = submitted < 0 ? -submitted : EIO;
    FailUnsubmitted(error);
    return ErrnoError(error, "io_uring_enter");
  }
  return {};
}

// Takes back the entries that the kernel did not take, which it only looks at in io_uring_enter.
// liburing hands entry n of its own count over as number n of the ring, so one count does for both.
void UringEngine::FailUnsubmitted(int error) {
  io_uring_sq& queue = ring_->sq;
  const unsigned head = io_uring_smp_load_acquire(queue.khead);
  for (unsigned at = head; at != queue.sqe_tail; ++at) {
    const auto slot = static_cast<SlotIndex>(queue.sqes[at & *queue.kring_mask].user_data);
    --in_ring_;
    if (syncing_ == slot) syncing_.reset();
    ready_.push_back({.tag = transfers_[slot].request().tag, .result = -error});
    const std::span<std::byte> bounce = transfers_[slot].TakeBounce();
    if (!bounce.empty()) free_bounces_.push_back(bounce);
    free_.push_back(slot);
  }
  io_uring_smp_store_release(queue.ktail, head);
  queue.sqe_head = queue.sqe_tail = head;
  for (std::vector<SlotIndex>* const waiting : {&bounce_queue_, &sync_queue_}) {
    for (const SlotIndex slot : *waiting) {
      ready_.push_back({.tag = transfers_[slot].request().tag, .result = -error});
      free_.push_back(slot);
    }
    waiting->clear();
  }
  completion_.Signal();
}

std::size_t UringEngine::Reap(std::span<BlockCompletion> out) {
  // Before looking at the ring: what completes from here on signals again. Always, because a signal
  // may come after its completion was taken.
  completion_.Drain();
  std::size_t n = TakeReady(out);
  n += TakeCompletions(out.subspan(n));
  // The rest of short transfers. An error has made completions, which signal.
  if (io_uring_sq_ready(ring_) > 0) [[maybe_unused]]
    const Status entered = Enter();
  return n;
}

std::size_t UringEngine::TakeReady(std::span<BlockCompletion> out) {
  if (ready_.empty()) return 0;
  const std::size_t n = std::min(out.size(), ready_.size());
  std::copy_n(ready_.begin(), n, out.begin());
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(n));
  return n;
}

std::size_t UringEngine::TakeCompletions(std::span<BlockCompletion> out) {
  std::size_t n = 0;
  io_uring_cqe* cqe = nullptr;
  while (n < out.size() && in_ring_ > 0 && io_uring_peek_cqe(ring_, &cqe) == 0) {
    const auto slot = static_cast<SlotIndex>(cqe->user_data);
    const std::int64_t outcome = cqe->res;
    io_uring_cqe_seen(ring_, cqe);
    --in_ring_;
    const auto result = transfers_[slot].Advance(outcome);
    if (!result) {
      Prepare(slot);
      continue;
    }
    out[n++] = {.tag = transfers_[slot].request().tag, .result = *result};
    Finish(slot);
    if (syncing_ == slot) NextSync();
  }
  return n;
}

void UringEngine::Finish(SlotIndex slot) {
  const std::span<std::byte> bounce = transfers_[slot].TakeBounce();
  free_.push_back(slot);
  if (bounce.empty()) return;
  free_bounces_.push_back(bounce);
  if (bounce_queue_.empty()) return;
  const SlotIndex next = bounce_queue_.front();
  bounce_queue_.erase(bounce_queue_.begin());
  Start(next);
}

void UringEngine::NextSync() {
  syncing_.reset();
  while (!sync_queue_.empty()) {
    const SlotIndex slot = sync_queue_.front();
    sync_queue_.erase(sync_queue_.begin());
    if (file_.flush_error == 0) return Prepare(slot);
    ready_.push_back({.tag = transfers_[slot].request().tag, .result = file_.flush_error});
    Finish(slot);
    completion_.Signal();
  }
}

void UringEngine::WaitForAll() {
  FailUnsubmitted(ECANCELED);
  while (in_ring_ > 0) {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_wait_cqe(ring_, &cqe) != 0) continue;  // EINTR
    io_uring_cqe_seen(ring_, cqe);
    --in_ring_;
  }
}

}  // namespace

Result<std::unique_ptr<BlockBackend>> CreateUringEngine(RawFile&& file, std::uint32_t depth,
                                                        Permit* permit) {
  if (depth == 0 || depth > kMaxDepth)
    return InvalidArgument("depth {}: not from 1 to {}", depth, kMaxDepth);
  ASSIGN_OR_RETURN(EventFd completion, EventFd::Create());
  ASSIGN_OR_RETURN(std::unique_ptr<RestrictedRing> ring,
                   RestrictedRing::Create(depth, file.fd.get(), completion.get(), kUringOpcodes));
  return std::make_unique<UringEngine>(std::move(file), std::move(completion), std::move(ring),
                                       depth, permit);
}

}  // namespace gemel::block
