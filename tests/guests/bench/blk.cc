#include "tests/guests/bench/load.h"

namespace bench {
namespace {

constexpr std::uint32_t kIn = 0, kOut = 1;
constexpr std::uint32_t kSectorBytes = 512;
constexpr std::uint8_t kNoAnswer = 0xff;

struct Header {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};
static_assert(sizeof(Header) == 16);

// Header, data, status.
constexpr std::uint32_t kParts = 3;
alignas(16) Descriptor tables[kMaxQueueSize][kParts + 1];
Header headers[kMaxQueueSize];
volatile std::uint8_t answers[kMaxQueueSize];

struct Blk {
  Queue queue;
  Options options{};
  bool indirect = false;
  std::uint64_t blocks = 0, next_block = 0;
  std::uint64_t random = 0x9e3779b97f4a7c15;
  Counts counts;

  std::uint32_t SlotOf(std::uint32_t head) const { return indirect ? head : head / kParts; }
  std::uint16_t HeadOf(std::uint32_t slot) const {
    return static_cast<std::uint16_t>(indirect ? slot : slot * kParts);
  }
  void BuildChain(std::uint32_t slot);
  std::uint64_t NextBlock();
  void Begin(std::uint32_t slot);
  void End(std::uint32_t slot);
};
constinit Blk blk;

template <class T>
std::uint64_t AddressOf(const volatile T* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

void Blk::BuildChain(std::uint32_t slot) {
  using gemel::virtio::kDescriptorIndirect;
  using gemel::virtio::kDescriptorNext;
  using gemel::virtio::kDescriptorWrite;
  const std::uint16_t head = HeadOf(slot);
  const auto first = static_cast<std::uint16_t>(indirect ? 0 : head);
  Descriptor* const chain = indirect ? tables[slot] : queue.descriptors() + head;
  const bool write = options.pattern == Pattern::kRandomWrite || options.pattern == Pattern::kWrite;
  headers[slot].type = write ? kOut : kIn;
  chain[0] = {AddressOf(&headers[slot]), sizeof(Header), kDescriptorNext,
              static_cast<std::uint16_t>(first + 1)};
  chain[1] = {kBuffers + std::uint64_t{slot} * options.size, options.size,
              static_cast<std::uint16_t>(kDescriptorNext | (write ? 0 : kDescriptorWrite)),
              static_cast<std::uint16_t>(first + 2)};
  chain[2] = {AddressOf(&answers[slot]), 1, kDescriptorWrite, 0};
  if (indirect)
    queue.descriptors()[head] = {AddressOf(tables[slot]), kParts * sizeof(Descriptor),
                                 kDescriptorIndirect, 0};
}

// xorshift64*, brought into range by its high half.
std::uint64_t Blk::NextBlock() {
  if (options.pattern == Pattern::kRead || options.pattern == Pattern::kWrite) {
    if (next_block == blocks) next_block = 0;
    return next_block++;
  }
  random ^= random >> 12;
  random ^= random << 25;
  random ^= random >> 27;
  const std::uint64_t mixed = random * 0x2545f4914f6cdd1d;
  return static_cast<std::uint64_t>(static_cast<Wide>(mixed) * blocks >> 64);
}

void Blk::Begin(std::uint32_t slot) {
  headers[slot].sector = NextBlock() * (options.size / kSectorBytes);
  answers[slot] = kNoAnswer;
  queue.Offer(HeadOf(slot));
}

void Blk::End(std::uint32_t slot) {
  ++counts.ops;
  counts.bytes += options.size;
  if (answers[slot] != 0) ++counts.errors;
}

void Prepare(const Device& device, const Options& options) {
  blk.options = options;
  const std::uint64_t features =
      Negotiate(device.registers, kVersion1 | (options.features & (kEventIndex | kIndirect)));
  if ((features & kVersion1) == 0) Fail("the device is not a modern one");
  blk.indirect = (features & kIndirect) != 0;
  const std::uint64_t sectors =
      guest::Read<std::uint32_t>(device.registers.config) |
      std::uint64_t{guest::Read<std::uint32_t>(device.registers.config + 4)} << 32;
  blk.blocks = sectors / (options.size / kSectorBytes);
  if (blk.blocks == 0) Fail("the disk is smaller than bs");
  if (options.interrupts) EnableInterrupt(device);
  if (!blk.queue.SetUp(device, 0, features, options.interrupts)) Fail("the device has no queue");
  const std::uint32_t room = blk.indirect ? blk.queue.size() : blk.queue.size() / kParts;
  if (options.depth > room || std::uint64_t{options.depth} * options.size > kBufferBytes)
    Fail("qd: more than the queue or the buffers have room for");
  for (std::uint32_t slot = 0; slot < options.depth; ++slot) blk.BuildChain(slot);
  Start(device.registers);
}

Counts Run(std::uint64_t ticks, Histogram& latency) {
  blk.counts = {};
  const std::uint64_t began = Now();
  KeepInFlight(blk, blk.queue, blk.options.depth, ticks, blk.options.interrupts, latency);
  blk.counts.ticks = Now() - began;
  return blk.counts;
}

std::uint64_t Kicks() { return blk.queue.kicks(); }

}  // namespace

const Load kBlkLoad{.prepare = Prepare, .run = Run, .kicks = Kicks};

}  // namespace bench
