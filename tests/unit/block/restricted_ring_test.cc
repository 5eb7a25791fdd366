#include "block/restricted_ring.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>

#include "base/event_fd.h"
#include "block/uring_engine.h"
#include "tests/unit/block/scratch_file.h"

namespace gemel::block {
namespace {

class RestrictedRingTest : public testing::Test {
 protected:
  void SetUp() override {
    auto event = EventFd::Create();
    ASSERT_TRUE(event);
    event_ = std::make_unique<EventFd>(std::move(*event));
    auto ring = RestrictedRing::Create(4, file_.get(), event_->get(), kUringOpcodes);
    if (!ring) GTEST_SKIP() << ring.error().message;
    ring_ = std::move(*ring);
  }
  io_uring_sqe* Entry() { return io_uring_get_sqe(ring_->get()); }
  int Outcome() {
    io_uring_cqe* cqe = nullptr;
    EXPECT_EQ(io_uring_submit_and_wait(ring_->get(), 1), 1);
    EXPECT_EQ(io_uring_peek_cqe(ring_->get(), &cqe), 0);
    const int result = cqe->res;
    io_uring_cqe_seen(ring_->get(), cqe);
    return result;
  }

  UniqueFd file_ = ScratchFile(".", 4096);
  std::unique_ptr<EventFd> event_;
  std::unique_ptr<RestrictedRing> ring_;
};

TEST_F(RestrictedRingTest, ReadOfTheRegisteredFile_Works) {
  std::array<char, 512> buffer;
  io_uring_sqe* sqe = Entry();
  io_uring_prep_read(sqe, 0, buffer.data(), buffer.size(), 0);
  sqe->flags = IOSQE_FIXED_FILE;
  EXPECT_EQ(Outcome(), 512);
}

TEST_F(RestrictedRingTest, OpenAt_IsDenied) {
  io_uring_sqe* sqe = Entry();
  io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
  EXPECT_EQ(Outcome(), -EACCES);
}

TEST_F(RestrictedRingTest, OpenAtWithTheFixedFileFlag_IsDenied) {
  io_uring_sqe* sqe = Entry();
  io_uring_prep_openat(sqe, 0, "/etc/passwd", O_RDONLY, 0);
  sqe->flags = IOSQE_FIXED_FILE;
  EXPECT_EQ(Outcome(), -EACCES);
}

TEST_F(RestrictedRingTest, Socket_IsDenied) {
  io_uring_sqe* sqe = Entry();
  io_uring_prep_rw(IORING_OP_SOCKET, sqe, AF_INET, nullptr, 0, SOCK_STREAM);
  sqe->flags = IOSQE_FIXED_FILE;
  EXPECT_EQ(Outcome(), -EACCES);
}

TEST_F(RestrictedRingTest, ReadOfAnUnregisteredDescriptor_IsDenied) {
  std::array<char, 512> buffer;
  io_uring_sqe* sqe = Entry();
  io_uring_prep_read(sqe, file_.get(), buffer.data(), buffer.size(), 0);
  EXPECT_EQ(Outcome(), -EACCES);
}

TEST_F(RestrictedRingTest, LinkedEntry_IsDenied) {
  std::array<char, 512> buffer;
  io_uring_sqe* sqe = Entry();
  io_uring_prep_read(sqe, 0, buffer.data(), buffer.size(), 0);
  sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
  EXPECT_EQ(Outcome(), -EACCES);
}

TEST_F(RestrictedRingTest, RegisteringAnotherFile_IsDenied) {
  int fd = file_.get();
  EXPECT_EQ(io_uring_unregister_files(ring_->get()), -EACCES);
  EXPECT_EQ(io_uring_register_files_update(ring_->get(), 0, &fd, 1), -EACCES);
}

}  // namespace
}  // namespace gemel::block
