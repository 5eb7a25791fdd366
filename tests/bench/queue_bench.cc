// What the queue costs a device: one chain taken and given back, with the driver's part done
// beforehand as far as possible. The driver offers a full ring of chains that never change, by
// moving one index.
//
//   ninja -C build tests/bench/queue_bench && build/tests/bench/queue_bench
#include <benchmark/benchmark.h>

#include <vector>

#include "base/check.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/test_memory.h"
#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::MakeTestMemory;

constexpr std::uint16_t kQueueSize = 256;
constexpr int kBatch = 32;

// A ring whose every entry is a chain of the given kind.
struct Ring {
  Ring(int descriptors, bool indirect) : driver(*memory, kQueueSize) {
    std::vector<std::uint16_t> heads;
    for (int chain = 0; chain < kQueueSize / (indirect ? 1 : descriptors); ++chain) {
      DescriptorChainBuilder builder(driver);
      if (indirect) builder.Indirect();
      for (int i = 0; i + 1 < descriptors; ++i) builder.AppendReadable("16 bytes of data");
      builder.AppendWritable(512);
      heads.push_back(builder.BuildOnly());
    }
    for (std::uint16_t place = 0; place < kQueueSize; ++place)
      driver.SetAvailEntry(place, heads[place % heads.size()]);
    queue =
        VirtQueue::Create(*memory, driver.layout(), kFeatureEventIdx | kFeatureIndirectDesc, 128)
            .value();
  }

  void Offer(int chains) {
    driver.SetAvailIndex(static_cast<std::uint16_t>(driver.avail_index() + chains));
  }

  std::unique_ptr<GuestMemory> memory = MakeTestMemory(16 << 20);
  FakeDriverQueue driver;
  std::unique_ptr<VirtQueue> queue;
};

// A batch as a device with asynchronous completions handles it: all are popped, then all are
// completed.
void PopAndComplete(benchmark::State& state, bool indirect) {
  Ring ring(static_cast<int>(state.range(0)), indirect);
  std::vector<DescriptorChain> chains;
  chains.reserve(kBatch);
  for (auto _ : state) {
    ring.Offer(kBatch);
    ring.queue->DisableNotification();
    for (;;) {
      auto popped = ring.queue->Pop();
      if (!popped->has_value()) break;
      chains.push_back(**std::move(popped));
    }
    benchmark::DoNotOptimize(ring.queue->EnableNotification());
    for (DescriptorChain& chain : chains) std::move(chain).Complete(512);
    chains.clear();
    benchmark::DoNotOptimize(ring.queue->NeedsInterrupt());
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

void BM_Direct(benchmark::State& state) { PopAndComplete(state, false); }
void BM_Indirect(benchmark::State& state) { PopAndComplete(state, true); }
BENCHMARK(BM_Direct)->Arg(1)->Arg(3);
BENCHMARK(BM_Indirect)->Arg(1)->Arg(3)->Arg(34);

// One chain at a time, notifications and all: the latency path.
void BM_OneByOne(benchmark::State& state) {
  Ring ring(3, false);
  for (auto _ : state) {
    ring.Offer(1);
    ring.queue->DisableNotification();
    auto popped = ring.queue->Pop();
    (**std::move(popped)).Complete(512);
    benchmark::DoNotOptimize(ring.queue->EnableNotification());
    benchmark::DoNotOptimize(ring.queue->NeedsInterrupt());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_OneByOne);

void BM_CopyFromIov(benchmark::State& state) {
  std::vector<std::byte> from(4096), to(static_cast<std::size_t>(state.range(0)));
  const iovec iov{from.data(), from.size()};
  for (auto _ : state) {
    benchmark::DoNotOptimize(CopyFromIov({&iov, 1}, 0, to));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_CopyFromIov)->Arg(16)->Arg(4096);

}  // namespace
}  // namespace gemel::virtio
