// What a VM of a cluster pays for each submission, exit and event: one question to its fence.
//
//   ninja -C build tests/bench/fence_bench && build/tests/bench/fence_bench
#include <benchmark/benchmark.h>

#include "cluster/page/page_memory.h"
#include "vmm/fence/fence.h"

namespace gemel {
namespace {

void Holds(benchmark::State& state) {
  cluster::DeadlinePage page;
  page.session = {1, 1};
  page.deadline = cluster::BootTime() + cluster::Time{3'600'000'000};
  page.poisoned = false;
  const auto writer = cluster::PageWriter::Create(page).value();
  const SystemClock clock;
  const auto fence =
      Fence::Create({writer.OpenForReader().value(), page.session, {1, 1}}, &clock).value();
  Permit* const permit = fence.get();
  for (auto _ : state) benchmark::DoNotOptimize(Allowed(permit));
}
BENCHMARK(Holds);

}  // namespace
}  // namespace gemel
