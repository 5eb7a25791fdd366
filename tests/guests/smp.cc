// Starts the other processors (cpus=N on the command line), then calls each by an interrupt.
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint8_t kArrived = 0x50, kCall = 0x51;
constexpr std::uint32_t kIcrLow = 0x300, kIcrHigh = 0x310;
constexpr std::uint32_t kAssert = 1 << 14, kAllOthers = 3 << 18;

std::uint32_t arrived = 0;
std::uint32_t answered = 0;
std::uint64_t apic_ids = 0;
std::uint64_t cpuid_ids = 0;

void TellFirst() {
  guest::ApicWrite(kIcrHigh, 0);
  guest::ApicWrite(kIcrLow, kAssert | kArrived);
}

void OnArrived(std::uint8_t) { guest::EndOfInterrupt(); }

void OnCall(std::uint8_t) {
  guest::EndOfInterrupt();
  __atomic_fetch_add(&answered, 1, __ATOMIC_SEQ_CST);
  TellFirst();
}

void OtherProcessor() {
  guest::EnableApic();
  __atomic_fetch_or(&apic_ids, 1ull << (guest::ApicId() & 63), __ATOMIC_SEQ_CST);
  __atomic_fetch_or(&cpuid_ids, 1ull << ((guest::GetCpuid(1).ebx >> 24) & 63), __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
  TellFirst();
  for (;;) guest::WaitForInterrupt();
}

void WaitUntil(std::uint32_t* count, std::uint64_t expected) {
  while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < expected) guest::WaitForInterrupt();
}

}  // namespace

void GuestMain() {
  const std::uint64_t others = guest::Option("cpus", 1) - 1;
  guest::EnableApic();
  guest::SetHandler(kArrived, OnArrived);
  guest::SetHandler(kCall, OnCall);
  guest::Expect("first APIC id", guest::ApicId(), 0);
  guest::StartOtherProcessors(OtherProcessor);
  WaitUntil(&arrived, others);
  const std::uint64_t all = others == 63 ? ~0ull : (1ull << (others + 1)) - 1;
  guest::Expect("APIC ids", apic_ids | 1, all);
  guest::Expect("APIC ids by CPUID", cpuid_ids | 1, all);
  guest::ApicWrite(kIcrLow, kAllOthers | kAssert | kCall);
  WaitUntil(&answered, others);
  guest::PrintAll("processors: ", others + 1, "\n");
  guest::Exit(0);
}
