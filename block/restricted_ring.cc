#include "block/restricted_ring.h"

#include <cerrno>
#include <vector>

namespace gemel::block {
namespace {

// Best first. COOP_TASKRUN: completions do not interrupt the worker, it enters the kernel often
// enough. SUBMIT_ALL: one bad entry does not hold up those behind it.
constexpr unsigned kSetupFlags[] = {
    IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,  // Linux 5.19
    IORING_SETUP_R_DISABLED,                                                        // Linux 5.10
};

std::unexpected<Error> UringError(int result, const char* what) {
  return ErrnoError(-result, fmt::format("io_uring is not available: {}", what));
}

std::vector<io_uring_restriction> Restrictions(std::span<const std::uint8_t> opcodes) {
  std::vector<io_uring_restriction> list;
  for (const std::uint8_t opcode : opcodes) {
    io_uring_restriction allow{};
    allow.opcode = IORING_RESTRICTION_SQE_OP;
    allow.sqe_op = opcode;
    list.push_back(allow);
  }
  io_uring_restriction allowed{};
  allowed.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  allowed.sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
  list.push_back(allowed);
  io_uring_restriction required{};
  required.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
  required.sqe_flags = IOSQE_FIXED_FILE;
  list.push_back(required);
  return list;
}

}  // namespace

Result<std::unique_ptr<RestrictedRing>> RestrictedRing::Create(
    std::uint32_t entries, int fd, int event_fd, std::span<const std::uint8_t> opcodes) {
  std::unique_ptr<RestrictedRing> ring(new RestrictedRing);
  int result = -EINVAL;
  for (const unsigned flags : kSetupFlags) {
    result = io_uring_queue_init(entries, &ring->ring_, flags);
    if (result != -EINVAL) break;
  }
  if (result < 0) return UringError(result, "io_uring_setup");
  ring->created_ = true;
  RETURN_IF_ERROR(ring->Confine(fd, event_fd, opcodes));
  return ring;
}

RestrictedRing::~RestrictedRing() {
  if (created_) io_uring_queue_exit(&ring_);
}

Status RestrictedRing::Confine(int fd, int event_fd, std::span<const std::uint8_t> opcodes) {
  int result = io_uring_register_files(&ring_, &fd, 1);
  if (result < 0) return UringError(result, "IORING_REGISTER_FILES");
  result = io_uring_register_eventfd(&ring_, event_fd);
  if (result < 0) return UringError(result, "IORING_REGISTER_EVENTFD");
  // No register operation is on the list: once the ring is enabled each one fails with EACCES.
  std::vector<io_uring_restriction> list = Restrictions(opcodes);
  result = io_uring_register_restrictions(&ring_, list.data(), static_cast<unsigned>(list.size()));
  if (result < 0) return UringError(result, "IORING_REGISTER_RESTRICTIONS");
  result = io_uring_enable_rings(&ring_);
  if (result < 0) return UringError(result, "IORING_REGISTER_ENABLE_RINGS");
  return {};
}

}  // namespace gemel::block
