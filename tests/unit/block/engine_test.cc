#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "block/raw.h"
#include "tests/fakes/fake_permit.h"
#include "tests/unit/block/scratch_file.h"

namespace gemel::block {
namespace {

constexpr std::uint64_t kSize = 4 << 20;
using Op = BlockRequest::Op;

struct Case {
  const char* name;
  Engine engine;
  const char* folder;
  bool direct;
};

// Submits and waits for exactly `count` completions, by tag order of arrival.
std::vector<BlockCompletion> SubmitAndWait(BlockBackend& backend, std::size_t count) {
  EXPECT_TRUE(backend.Submit());
  std::vector<BlockCompletion> all;
  std::array<BlockCompletion, 8> some;
  while (true) {
    const std::size_t n = backend.Reap(some);
    all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n));
    if (all.size() >= count) return all;
    if (n == some.size()) continue;
    pollfd poll_fd{.fd = backend.completion_fd(), .events = POLLIN, .revents = 0};
    if (poll(&poll_fd, 1, 20'000) != 1) {
      ADD_FAILURE() << "no completion";
      return all;
    }
  }
}

std::int64_t Do(BlockBackend& backend, BlockRequest request) {
  backend.Queue(request);
  const std::vector<BlockCompletion> done = SubmitAndWait(backend, 1);
  return done.size() == 1 ? done[0].result : -ETIME;
}

iovec Iov(std::vector<std::byte>& bytes, std::size_t skip = 0) {
  return {.iov_base = bytes.data() + skip, .iov_len = bytes.size() - skip};
}

class EngineTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    file_ = ScratchFile(GetParam().folder, kSize);
    Open(false);
  }
  void Open(bool read_only) {
    RawOptions options;
    options.fd = Reopen(file_, read_only ? O_RDONLY : O_RDWR);
    options.read_only = read_only;
    options.direct = GetParam().direct;
    options.engine = GetParam().engine;
    options.depth = 16;
    options.permit = &permit_;
    auto backend = OpenRaw(std::move(options));
    if (!backend && GetParam().direct) GTEST_SKIP() << backend.error().message;
    if (!backend && GetParam().engine == Engine::kIoUring) GTEST_SKIP() << backend.error().message;
    ASSERT_TRUE(backend) << backend.error().message;
    backend_ = std::move(*backend);
  }

  UniqueFd file_;
  gemel::testing::FakePermit permit_;
  std::unique_ptr<BlockBackend> backend_;
};

TEST_P(EngineTest, Open_ReportsSizeAndEngine) {
  EXPECT_EQ(backend_->size(), kSize);
  EXPECT_FALSE(backend_->read_only());
  EXPECT_EQ(backend_->engine(), GetParam().engine == Engine::kSync ? "sync" : "io_uring");
}

TEST_P(EngineTest, Write_ReachesTheFile) {
  auto data = Pattern(8192, 1);
  const iovec iov = Iov(data);
  EXPECT_EQ(Do(*backend_, {.op = Op::kWrite, .offset = 4096, .iov = {&iov, 1}}), 8192);
  EXPECT_EQ(FileBytes(file_, 4096, 8192), data);
}

TEST_P(EngineTest, WriteWithoutPermit_IsHeldAndGoesOutOnceItIsRenewed) {
  auto data = Pattern(8192, 1);
  const iovec iov = Iov(data);
  permit_.holds = false;
  backend_->Queue({.op = Op::kWrite, .offset = 4096, .iov = {&iov, 1}, .tag = 1});
  EXPECT_TRUE(backend_->Submit());
  std::array<BlockCompletion, 8> none;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(backend_->Reap(none), 0u);
  EXPECT_EQ(backend_->in_flight(), 0u);
  EXPECT_EQ(FileBytes(file_, 4096, 8192), std::vector<std::byte>(8192));
  permit_.holds = true;
  const std::vector<BlockCompletion> done = SubmitAndWait(*backend_, 1);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].result, 8192);
  EXPECT_EQ(FileBytes(file_, 4096, 8192), data);
}

TEST_P(EngineTest, WithoutPermit_HoldsAsManyAsThereIsRoomFor) {
  auto data = Pattern(4096, 1);
  const iovec iov = Iov(data);
  permit_.holds = false;
  std::size_t queued = 0;
  for (; backend_->HasRoom(); ++queued) {
    backend_->Queue({.op = Op::kWrite, .offset = 4096 * queued, .iov = {&iov, 1}, .tag = queued});
    EXPECT_TRUE(backend_->Submit());
  }
  EXPECT_EQ(queued, 16u);
  permit_.holds = true;
  EXPECT_EQ(SubmitAndWait(*backend_, queued).size(), queued);
}

TEST_P(EngineTest, ReadOfHole_IsZeros) {
  std::vector<std::byte> data(4096, std::byte{0xee});
  const iovec iov = Iov(data);
  EXPECT_EQ(Do(*backend_, {.op = Op::kRead, .offset = 8192, .iov = {&iov, 1}}), 4096);
  EXPECT_EQ(data, std::vector<std::byte>(4096));
}

TEST_P(EngineTest, MisalignedSegments_AreGatheredAndScattered) {
  const std::size_t block = backend_->topology().logical_block_size;
  auto data = Pattern(3 * block + 5, 2);
  const std::array<iovec, 3> out = {{{data.data() + 1, block + 3},
                                     {data.data() + block + 4, 7},
                                     {data.data() + block + 11, block - 10}}};
  EXPECT_EQ(Do(*backend_, {.op = Op::kWrite, .offset = block, .iov = out}),
            static_cast<std::int64_t>(2 * block));
  std::vector<std::byte> back(2 * block + 3);
  const std::array<iovec, 2> in = {{{back.data() + 3, 1}, {back.data() + 4, 2 * block - 1}}};
  EXPECT_EQ(Do(*backend_, {.op = Op::kRead, .offset = block, .iov = in}),
            static_cast<std::int64_t>(2 * block));
  EXPECT_TRUE(std::equal(back.begin() + 3, back.end(), data.begin() + 1));
}

TEST_P(EngineTest, ManyMisalignedRequestsLargerThanABounceBuffer_AllComplete) {
  constexpr std::size_t kLength = 384 << 10;
  std::vector<std::vector<std::byte>> data;
  std::vector<iovec> iov;
  for (unsigned i = 0; i < 10; ++i) data.push_back(Pattern(kLength + 1, i));
  for (auto& bytes : data) iov.push_back(Iov(bytes, 1));
  for (std::uint64_t i = 0; i < 10; ++i)
    backend_->Queue({.op = Op::kWrite, .offset = i * kLength, .iov = {&iov[i], 1}, .tag = i});
  const auto done = SubmitAndWait(*backend_, 10);
  EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](auto& c) { return c.result == kLength; }));
  for (std::size_t i = 0; i < 10; ++i)
    EXPECT_EQ(FileBytes(file_, i * kLength, kLength),
              std::vector<std::byte>(data[i].begin() + 1, data[i].end()));
}

TEST_P(EngineTest, FileMadeShorter_ReadsZerosPastItsEnd) {
  auto data = Pattern(4096, 3);
  ASSERT_EQ(pwrite(file_.get(), data.data(), 1000, 0), 1000);
  ASSERT_EQ(ftruncate(file_.get(), 1000), 0);
  std::vector<std::byte> back(8192, std::byte{0xee});
  const iovec iov = Iov(back);
  EXPECT_EQ(Do(*backend_, {.op = Op::kRead, .offset = 0, .iov = {&iov, 1}}), 8192);
  EXPECT_TRUE(std::equal(back.begin(), back.begin() + 1000, data.begin()));
  EXPECT_TRUE(
      std::all_of(back.begin() + 1000, back.end(), [](auto b) { return b == std::byte{}; }));
}

TEST_P(EngineTest, Flush_Succeeds) { EXPECT_EQ(Do(*backend_, {.op = Op::kFlush}), 0); }

TEST_P(EngineTest, FlushesAndDurableWritesTogether_AllComplete) {
  auto data = Pattern(4096, 9);
  const iovec iov = Iov(data);
  for (std::uint64_t tag = 0; tag < 16; ++tag) {
    BlockRequest request;
    request.op = tag % 2 == 0 ? Op::kWrite : Op::kFlush;
    request.tag = tag;
    if (tag % 2 == 0) {
      request.offset = 4096 * tag;
      request.iov = {&iov, 1};
      request.durable = true;
    }
    backend_->Queue(request);
  }
  ASSERT_TRUE(backend_->Submit());
  std::set<std::uint64_t> done;
  while (done.size() < 16) {
    std::array<BlockCompletion, 16> out;
    const std::size_t n = backend_->Reap(out);
    for (const BlockCompletion& completion : std::span(out).first(n)) {
      EXPECT_EQ(completion.result, completion.tag % 2 == 0 ? 4096 : 0);
      done.insert(completion.tag);
    }
    pollfd ready{backend_->completion_fd(), POLLIN, 0};
    if (n == 0) {
      ASSERT_EQ(poll(&ready, 1, 10'000), 1);
    }
  }
}

TEST_P(EngineTest, DurableWrite_AnswersTheWritesLength) {
  auto data = Pattern(4096, 4);
  const iovec iov = Iov(data);
  EXPECT_EQ(Do(*backend_, {.op = Op::kWrite, .durable = true, .iov = {&iov, 1}}), 4096);
  EXPECT_EQ(FileBytes(file_, 0, 4096), data);
}

TEST_P(EngineTest, Discard_PunchesAHole) {
  std::vector<std::byte> data(1 << 20, std::byte{0x5a});
  const iovec iov = Iov(data);
  ASSERT_EQ(Do(*backend_, {.op = Op::kWrite, .durable = true, .iov = {&iov, 1}}), 1 << 20);
  const std::uint64_t before = BytesAllocated(file_);
  if (backend_->topology().discard_granularity == 0) GTEST_SKIP() << "no holes here";
  EXPECT_EQ(Do(*backend_, {.op = Op::kDiscard, .offset = 65536, .length = 524288}), 0);
  EXPECT_EQ(BytesAllocated(file_), before - 524288);
  EXPECT_EQ(FileBytes(file_, 65536, 524288), std::vector<std::byte>(524288));
  EXPECT_EQ(backend_->size(), kSize);
}

TEST_P(EngineTest, WriteZeroesKeepingSpace_ReadsZerosAndKeepsIt) {
  std::vector<std::byte> data(2 << 20, std::byte{0x5a});
  const iovec iov = Iov(data);
  ASSERT_EQ(Do(*backend_, {.op = Op::kWrite, .durable = true, .iov = {&iov, 1}}), 2 << 20);
  const std::uint64_t before = BytesAllocated(file_);
  EXPECT_EQ(Do(*backend_, {.op = Op::kWriteZeroes, .offset = 4096, .length = 1500 << 10}), 0);
  EXPECT_EQ(FileBytes(file_, 4096, 1500 << 10), std::vector<std::byte>(1500 << 10));
  EXPECT_EQ(FileBytes(file_, 0, 4096), std::vector<std::byte>(4096, std::byte{0x5a}));
  EXPECT_GE(BytesAllocated(file_), before);
}

TEST_P(EngineTest, WriteZeroesMayUnmap_ReadsZerosAndFreesSpace) {
  std::vector<std::byte> data(1 << 20, std::byte{0x5a});
  const iovec iov = Iov(data);
  ASSERT_EQ(Do(*backend_, {.op = Op::kWrite, .durable = true, .iov = {&iov, 1}}), 1 << 20);
  const std::uint64_t before = BytesAllocated(file_);
  EXPECT_EQ(Do(*backend_, {.op = Op::kWriteZeroes, .length = 524288, .may_unmap = true}), 0);
  EXPECT_EQ(FileBytes(file_, 0, 524288), std::vector<std::byte>(524288));
  EXPECT_LT(BytesAllocated(file_), before);
}

TEST_P(EngineTest, FullDepth_CompletesEachTagOnce) {
  std::vector<std::byte> data(4096);
  const iovec iov = Iov(data);
  std::uint64_t tags = 0;
  while (backend_->HasRoom())
    backend_->Queue({.op = Op::kRead, .offset = tags * 4096, .iov = {&iov, 1}, .tag = tags++});
  ASSERT_EQ(tags, 16u);
  const auto done = SubmitAndWait(*backend_, 16);
  std::uint64_t seen = 0;
  for (const BlockCompletion& completion : done) seen |= 1ull << completion.tag;
  EXPECT_EQ(seen, 0xffffu);
  EXPECT_TRUE(backend_->HasRoom());
}

TEST_P(EngineTest, ReadOnly_WriteIsRefusedByTheDescriptor) {
  Open(true);
  auto data = Pattern(4096, 5);
  const iovec iov = Iov(data);
  EXPECT_TRUE(backend_->read_only());
  EXPECT_EQ(Do(*backend_, {.op = Op::kWrite, .iov = {&iov, 1}}), -EBADF);
}

TEST_P(EngineTest, DestroyedWithRequestsInFlight_WaitsForThem) {
  auto data = Pattern(1 << 20, 6);
  const iovec iov = Iov(data);
  backend_->Queue({.op = Op::kWrite, .durable = true, .iov = {&iov, 1}});
  ASSERT_TRUE(backend_->Submit());
  backend_.reset();
}

TEST_P(EngineTest, DestroyedWithRequestsNotSubmitted_DropsThem) {
  auto data = Pattern(4096, 7);
  const iovec iov = Iov(data);
  backend_->Queue({.op = Op::kWrite, .iov = {&iov, 1}});
  backend_.reset();
  EXPECT_EQ(FileBytes(file_, 0, 4096), std::vector<std::byte>(4096));
}

INSTANTIATE_TEST_SUITE_P(, EngineTest,
                         ::testing::Values(Case{"UringDisk", Engine::kIoUring, ".", false},
                                           Case{"SyncDisk", Engine::kSync, ".", false},
                                           Case{"UringTmpfs", Engine::kIoUring, "/dev/shm", false},
                                           Case{"SyncTmpfs", Engine::kSync, "/dev/shm", false},
                                           Case{"UringDirect", Engine::kIoUring, ".", true},
                                           Case{"SyncDirect", Engine::kSync, ".", true}),
                         [](const ::testing::TestParamInfo<Case>& one) { return one.param.name; });

}  // namespace
}  // namespace gemel::block
