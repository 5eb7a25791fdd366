// A guest that measures virtio devices: the same file under Gemel and under QEMU (microvm, q35). See
// options.h for its command line. It prints "bench: begin" and "bench: end" around what it measures,
// with a moment of quiet after the one and before the other, then one line of JSON, and ends.
#include "tests/guests/bench/clock.h"
#include "tests/guests/bench/device.h"
#include "tests/guests/bench/load.h"
#include "tests/guests/bench/options.h"
#include "tests/guests/runtime/runtime.h"
#include "tests/guests/runtime/user_mode.h"

namespace bench {
namespace {

constinit Options options{};
const Load* load = nullptr;
constinit Clock rate;
constinit Histogram latency;

// What a turn at CPL 3 does.
std::uint64_t ticks;
constinit Counts counts;

void Rest() {
  const std::uint64_t until = Now() + ticks;
  while (Now() < until) asm volatile("pause");
}

void Work() { counts = load->run(ticks, latency); }

void Turn(void (*what)(), std::uint64_t milliseconds) {
  ticks = rate.TicksOfMilliseconds(milliseconds);
  guest::RunInUserMode(what);
}

Device FindDevice() {
  Device device;
  if (options.mmio) device = FindMmioDevice(options.type);
  if (!device.found() && options.pci) device = FindPciDevice(options.type);
  if (!device.found()) Fail("no such device");
  return device;
}

// Power-off where there is ACPI or QEMU's isa-debug-exit; otherwise a reset, which a VMM can take for
// the end.
[[noreturn]] void End() {
  if (guest::HasWord("end=reset")) guest::Out8(0x64, 0xfe);
  guest::Exit(0);
}

void PrintResult(const char* transport, std::uint64_t kicks, std::uint64_t interrupts) {
  const std::uint64_t p50 = rate.Nanoseconds(latency.Percentile(500));
  const std::uint64_t p99 = rate.Nanoseconds(latency.Percentile(990));
  guest::PrintAll("{\"device\": \"", options.type == Type::kNet ? "net" : "blk",
                  "\", \"transport\": \"", transport, "\", \"rw\": \"", ToString(options.pattern));
  guest::PrintAll("\", \"bs\": ", options.size, ", \"qd\": ", options.depth, ", \"wait\": \"",
                  options.interrupts ? "interrupt" : "poll", "\", \"ops\": ", counts.ops);
  guest::PrintAll(", \"bytes\": ", counts.bytes, ", \"errors\": ", counts.errors,
                  ", \"ns\": ", rate.Nanoseconds(counts.ticks), ", \"p50_ns\": ", p50,
                  ", \"p99_ns\": ", p99);
  guest::PrintAll(", \"kicks\": ", kicks, ", \"interrupts\": ", interrupts, "}\n");
}

}  // namespace
}  // namespace bench

void GuestMain() {
  using namespace bench;
  options = ParseOptions();
  if (!rate.Find()) Fail("this hypervisor has no KVM clock");
  const Device device = FindDevice();
  guest::EnableUserMode();
  load = options.type == Type::kNet ? &kNetLoad : &kBlkLoad;
  load->prepare(device, options);
  Turn(Work, options.warm_up_milliseconds);
  latency.Clear();
  const std::uint64_t kicks = load->kicks(), interrupts = Interrupts();
  guest::Print("bench: begin\n");
  Turn(Rest, options.settle_milliseconds);
  Turn(Work, options.milliseconds);
  Turn(Rest, options.settle_milliseconds);
  guest::Print("bench: end\n");
  PrintResult(device.transport, load->kicks() - kicks, Interrupts() - interrupts);
  Reset(device.registers);
  End();
}
