#include "tests/guests/bench/load.h"

namespace bench {
namespace {

constexpr std::uint64_t kMacFeature = 1ull << 5, kMergeableFeature = 1ull << 15;
constexpr std::uint16_t kReceiveQueue = 0, kTransmitQueue = 1;

// virtio_net_hdr_v1 (virtio 1.2, 5.1.6): all zeros, a plain frame.
constexpr std::uint32_t kHeaderBytes = 12;
constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kMacBytes = 6;
// For local experiments (IEEE 802): no host takes these frames for something.
constexpr std::uint8_t kEtherType[2] = {0x88, 0xb5};
constexpr std::uint8_t kNobody[kMacBytes] = {0x02, 0, 0, 0, 0, 0x01};

struct Net {
  Queue queue;  // the one that is measured
  Queue other;  // the other one, empty
  Options options{};
  std::uint32_t stride = 0;  // of buffers
  Counts counts;

  std::uint8_t* Buffer(std::uint32_t slot) const {
    return reinterpret_cast<std::uint8_t*>(kBuffers + std::uint64_t{slot} * stride);
  }
  std::uint32_t SlotOf(std::uint32_t head) const { return head; }
  void Begin(std::uint32_t slot) { queue.Offer(static_cast<std::uint16_t>(slot)); }
  void End(std::uint32_t) {
    ++counts.ops;
    counts.bytes += options.size;
  }
  void BuildFrame(std::uint32_t slot, std::uint64_t config) const;
  void TakeFrame(Queue::Used used);
};
constinit Net net;

void Net::BuildFrame(std::uint32_t slot, std::uint64_t config) const {
  std::uint8_t* const frame = Buffer(slot) + kHeaderBytes;
  for (std::uint32_t i = 0; i < kHeaderBytes; ++i) Buffer(slot)[i] = 0;
  for (std::uint32_t i = 0; i < kMacBytes; ++i) {
    frame[i] = kNobody[i];
    frame[kMacBytes + i] = guest::Read<std::uint8_t>(config + i);
  }
  frame[2 * kMacBytes] = kEtherType[0];
  frame[2 * kMacBytes + 1] = kEtherType[1];
}

void Prepare(const Device& device, const Options& options) {
  const bool transmit = options.pattern == Pattern::kTransmit;
  net.options = options;
  const std::uint64_t features =
      Negotiate(device.registers,
                kVersion1 | kMacFeature | kMergeableFeature | (options.features & kEventIndex));
  if ((features & kVersion1) == 0) Fail("the device is not a modern one");
  if (options.interrupts) EnableInterrupt(device);
  const std::uint16_t index = transmit ? kTransmitQueue : kReceiveQueue;
  const auto other = static_cast<std::uint16_t>(1 - index);
  if (!net.queue.SetUp(device, index, features, options.interrupts) ||
      !net.other.SetUp(device, other, features, false))
    Fail("the device lacks a queue");
  net.stride = (kHeaderBytes + options.size + 63) & ~63u;
  if (options.depth > net.queue.size() || std::uint64_t{options.depth} * net.stride > kBufferBytes)
    Fail("qd: more than the queue or the buffers have room for");
  for (std::uint32_t slot = 0; slot < options.depth; ++slot) {
    const auto flags = static_cast<std::uint16_t>(transmit ? 0 : gemel::virtio::kDescriptorWrite);
    net.queue.descriptors()[slot] = {reinterpret_cast<std::uint64_t>(net.Buffer(slot)),
                                     kHeaderBytes + options.size, flags, 0};
    if (transmit) net.BuildFrame(slot, device.registers.config);
  }
  Start(device.registers);
  for (std::uint32_t slot = 0; slot < options.depth && !transmit; ++slot) net.Begin(slot);
  net.queue.Publish();
}

// Counts it if it is one of ours.
void Net::TakeFrame(Queue::Used used) {
  const std::uint8_t* const type = Buffer(used.head) + kHeaderBytes + 2 * kMacBytes;
  if (used.length < kHeaderBytes + kEthernetBytes) return;
  if (type[0] != kEtherType[0] || type[1] != kEtherType[1]) return;
  ++counts.ops;
  counts.bytes += used.length - kHeaderBytes;
}

void Receive(std::uint64_t ticks) {
  const std::uint64_t until = Now() + ticks;
  while (Now() < until) {
    if (!net.queue.has_used()) {
      Await(net.queue, net.options.interrupts);
      continue;
    }
    while (net.queue.has_used()) {
      const Queue::Used used = net.queue.Take();
      net.TakeFrame(used);
      net.Begin(used.head);
    }
    net.queue.Publish();
  }
}

Counts Run(std::uint64_t ticks, Histogram& latency) {
  net.counts = {};
  const Options& options = net.options;
  const std::uint64_t began = Now();
  if (options.pattern == Pattern::kTransmit) {
    KeepInFlight(net, net.queue, options.depth, ticks, options.interrupts, latency);
  } else {
    Receive(ticks);
  }
  net.counts.ticks = Now() - began;
  return net.counts;
}

std::uint64_t Kicks() { return net.queue.kicks(); }

}  // namespace

const Load kNetLoad{.prepare = Prepare, .run = Run, .kicks = Kicks};

}  // namespace bench
