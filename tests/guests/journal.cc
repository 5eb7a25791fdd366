// Appends numbered records to a disk and acknowledges each on its serial line, for tests that ask
// afterwards whether anything acknowledged was lost, or written by one who no longer might:
//
//   sector n % sectors of the disk := n and `id=`, 32 times; flush; then the line "ack <n>"
//
// It begins behind the highest number that the disk has, with the line "begin <n>", and never ends.
// With every=<n> only each n-th record is acknowledged: a guest that leaves the processor for nothing
// else, its disk's answers included. With pace=<ms> it sleeps for that long after each record, and
// while it waits for its disk: a guest that costs its host little.
#include "tests/guests/bench/queue.h"
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint32_t kIn = 0, kOut = 1, kFlush = 4;
constexpr std::uint64_t kFlushFeature = 1ull << 9;
constexpr std::uint32_t kSectorBytes = 512, kWords = kSectorBytes / 8;
constexpr std::uint32_t kReadSectors = 64;  // at once, while it looks for its place
constexpr std::uint8_t kTimerVector = 0x40;

struct Header {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};

bench::Queue queue;
Header header;
volatile std::uint8_t answer;
alignas(512) std::uint64_t record[kWords];
alignas(512) std::uint64_t found[kReadSectors * kWords];
std::uint64_t pace = 0;

template <class T>
std::uint64_t AddressOf(const volatile T* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

[[noreturn]] void Fail(const char* what) {
  guest::PrintAll("FAIL: ", what, "\n");
  guest::Exit(1);
}

void Sleep(std::uint64_t ms) {
  guest::ApicWrite(0x380, static_cast<std::uint32_t>(ms * 1'000'000));
  guest::WaitForInterrupt();
}

void PrepareSleep() {
  guest::EnableApic();
  guest::SetHandler(kTimerVector, [](std::uint8_t) { guest::EndOfInterrupt(); });
  guest::ApicWrite(0x3e0, 0xb);           // divide by 1: nanoseconds
  guest::ApicWrite(0x320, kTimerVector);  // one-shot
}

// One request at a time, the whole of it in chain 0. `sectors` are read at once.
void Do(std::uint32_t type, std::uint64_t sector, std::uint32_t sectors = 1) {
  using gemel::virtio::kDescriptorNext;
  using gemel::virtio::kDescriptorWrite;
  const std::uint16_t data_flags =
      type == kIn ? kDescriptorNext | kDescriptorWrite : kDescriptorNext;
  bench::Descriptor* const chain = queue.descriptors();
  const bool data = type != kFlush;
  header = {type, 0, sector};
  answer = 0xff;
  chain[0] = {AddressOf(&header), sizeof header, kDescriptorNext,
              static_cast<std::uint16_t>(data ? 1 : 2)};
  chain[1] = {type == kIn ? AddressOf(found) : AddressOf(record), sectors * kSectorBytes,
              data_flags, 2};
  chain[2] = {AddressOf(&answer), 1, kDescriptorWrite, 0};
  queue.Offer(0);
  queue.Publish();
  while (!queue.has_used()) {
    if (pace != 0) Sleep(1);
    asm volatile("pause");
  }
  queue.Take();
  if (answer != 0) Fail("the disk answers with an error");
}

std::uint64_t Prepare(const bench::Device& device) {
  const std::uint64_t features =
      bench::Negotiate(device.registers, bench::kVersion1 | kFlushFeature);
  if ((features & kFlushFeature) == 0) Fail("the disk has no flush");
  if (!queue.SetUp(device, 0, features, false)) Fail("the disk has no queue");
  bench::Start(device.registers);
  return guest::Read<std::uint32_t>(device.registers.config) |
         std::uint64_t{guest::Read<std::uint32_t>(device.registers.config + 4)} << 32;
}

std::uint64_t FindLast(std::uint64_t sectors) {
  std::uint64_t last = 0;
  for (std::uint64_t sector = 0; sector < sectors; sector += kReadSectors) {
    const std::uint64_t left = sectors - sector;
    const auto count = static_cast<std::uint32_t>(left < kReadSectors ? left : kReadSectors);
    Do(kIn, sector, count);
    for (std::uint32_t i = 0; i < count; ++i)
      if (found[i * kWords] > last) last = found[i * kWords];
  }
  return last;
}

}  // namespace

void GuestMain() {
  bench::Device device = bench::FindMmioDevice(bench::Type::kBlock);
  if (!device.found()) device = bench::FindPciDevice(bench::Type::kBlock);
  if (!device.found()) Fail("no disk");
  const std::uint64_t sectors = Prepare(device), id = guest::Option("id", 0);
  const std::uint64_t every = guest::Option("every", 1);
  pace = guest::Option("pace", 0);
  if (pace != 0) PrepareSleep();
  std::uint64_t number = FindLast(sectors) + 1;
  guest::PrintAll("begin ", number, "\n");
  for (;; ++number) {
    for (std::uint32_t i = 0; i < kWords; i += 2) {
      record[i] = number;
      record[i + 1] = id;
    }
    Do(kOut, number % sectors);
    Do(kFlush, 0);
    if (number % every == 0) guest::PrintAll("ack ", number, "\n");
    if (pace != 0) Sleep(pace);
  }
}
