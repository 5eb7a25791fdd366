// The virtio-blk path over a backend that does nothing: what a request costs us, not the storage.
//
//   BM_BlkPath/N      N 4 KiB reads offered, one kick, all taken back; per request
//   BM_Disk<engine>   the same over a file in the page cache
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/file_util.h"
#include "block/raw.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/test_memory.h"
#include "virtio/blk/config_space.h"
#include "virtio/blk/device.h"
#include "virtio/blk/request.h"

namespace gemel::virtio {
namespace {

constexpr std::uint64_t kDisk = 8 << 20;
constexpr std::uint32_t kBlock = 4096;

class NullBackend : public block::BlockBackend {
 public:
  NullBackend() { done_.reserve(kDepth); }
  std::uint64_t size() const override { return kDisk; }
  bool read_only() const override { return false; }
  block::BlockTopology topology() const override { return {}; }
  std::string_view engine() const override { return "null"; }
  int completion_fd() const override { return event_.get(); }
  bool HasRoom() const override { return done_.size() < kDepth; }
  void Queue(const block::BlockRequest& request) override {
    done_.push_back({.tag = request.tag, .result = kBlock});
  }
  Status Submit() override { return {}; }
  std::size_t Reap(std::span<block::BlockCompletion> out) override {
    const std::size_t n = std::min(out.size(), done_.size());
    std::copy_n(done_.end() - static_cast<std::ptrdiff_t>(n), n, out.begin());
    done_.resize(done_.size() - n);
    return n;
  }

 private:
  static constexpr std::size_t kDepth = 128;
  EventFd event_ = *EventFd::Create();
  std::vector<block::BlockCompletion> done_;
};

// Wakes the driver's thread, which the benchmark is.
class EventInterrupt : public Interrupt {
 public:
  void Trigger() override { event_.Signal(); }
  int event_fd() const override { return event_.get(); }
  void Wait() {
    std::uint64_t count = 0;
    CHECK(fcntl(event_.get(), F_SETFL, 0) == 0);
    CHECK(read(event_.get(), &count, sizeof count) == sizeof count);
  }

 private:
  EventFd event_ = *EventFd::Create();
};

// The device on its thread. The chains are laid out once; the driver only offers heads again.
class Disk {
 public:
  Disk(std::unique_ptr<block::BlockBackend> backend, std::uint16_t depth) : depth_(depth) {
    device_ = *CreateBlk({.name = "blk0", .serial = "", .backend = std::move(backend)});
    for (std::uint16_t i = 0; i < depth; ++i) {
      const BlkRequestHeader header{0, 0, std::uint64_t{i} * 8};
      heads_.push_back(testing::DescriptorChainBuilder(driver_)
                           .AppendReadable(std::as_bytes(std::span(&header, 1)))
                           .AppendWritable(kBlock)
                           .AppendWritable(1)
                           .BuildOnly());
    }
    const std::uint64_t features = device_->features() | kFeatureVersion1;
    Activation activation{.memory = memory_.get(),
                          .queues = {},
                          .config_interrupt = nullptr,
                          .needs_reset = [] { CHECK(false); },
                          .features = features};
    activation.queues.push_back(
        {.index = 0,
         .queue = *VirtQueue::Create(*memory_, driver_.layout(), features, 128),
         .kick = &kick_,
         .interrupt = &interrupt_});
    CHECK(device_->Activate(std::move(activation)).has_value());
  }
  ~Disk() {
    std::promise<void> done;
    device_->Reset([&done] { done.set_value(); });
    done.get_future().get();
  }
  void Round() {
    const auto target = static_cast<std::uint16_t>(driver_.used_index() + depth_);
    for (const std::uint16_t head : heads_) driver_.Offer(head);
    kick_.Signal();
    while (driver_.used_index() != target) interrupt_.Wait();
  }

 private:
  std::unique_ptr<GuestMemory> memory_ = testing::MakeTestMemory(8 << 20);
  testing::FakeDriverQueue driver_{*memory_, 256};
  EventFd kick_ = *EventFd::Create();
  EventInterrupt interrupt_;
  std::unique_ptr<VirtioDevice> device_;
  std::vector<std::uint16_t> heads_;
  const std::uint16_t depth_;
};

void Run(benchmark::State& state, std::unique_ptr<block::BlockBackend> backend) {
  const auto depth = static_cast<std::uint16_t>(state.range(0));
  Disk disk(std::move(backend), depth);
  for (auto _ : state) disk.Round();
  state.SetItemsProcessed(state.iterations() * depth);
}

void BM_BlkPath(benchmark::State& state) { Run(state, std::make_unique<NullBackend>()); }
BENCHMARK(BM_BlkPath)->Arg(1)->Arg(32)->Arg(64)->MeasureProcessCPUTime()->UseRealTime();

template <block::Engine engine>
void BM_Disk(benchmark::State& state) {
  // Not tmpfs, whose reads io_uring cannot try without blocking: it gives them to a thread.
  UniqueFd fd(open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return state.SkipWithError("no O_TMPFILE here");
  CHECK(WriteAll(fd.get(), std::vector<std::byte>(kDisk)).has_value());
  block::RawOptions options;
  options.fd = std::move(fd);
  options.engine = engine;
  auto backend = block::OpenRaw(std::move(options));
  if (!backend) return state.SkipWithError(backend.error().message.c_str());
  Run(state, *std::move(backend));
}
BENCHMARK(BM_Disk<block::Engine::kIoUring>)
    ->Arg(1)
    ->Arg(32)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK(BM_Disk<block::Engine::kSync>)->Arg(1)->Arg(32)->MeasureProcessCPUTime()->UseRealTime();

void BM_ParseRead(benchmark::State& state) {
  BlkRequestHeader header{0, 0, 8};
  std::vector<std::byte> data(kBlock + 1);
  const iovec readable{&header, sizeof header};
  const iovec writable[] = {{data.data(), kBlock}, {data.data() + kBlock, 1}};
  const BlkLimits limits{.capacity = kDisk};
  for (auto _ : state) benchmark::DoNotOptimize(ParseBlkRequest({&readable, 1}, writable, limits));
}
BENCHMARK(BM_ParseRead);

}  // namespace
}  // namespace gemel::virtio
