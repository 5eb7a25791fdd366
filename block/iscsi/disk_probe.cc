#include "block/iscsi/disk_probe.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace gemel::block {
namespace {

// A target queues several at a login (power on, parameters changed, …), and a reset adds to them.
constexpr int kMaxAttentions = 32;

std::uint32_t Bytes(std::uint64_t blocks, std::uint32_t block_bytes) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return blocks > kMost / block_bytes ? 0 : static_cast<std::uint32_t>(blocks * block_bytes);
}

}  // namespace

BlockTopology TopologyOf(const DiskFacts& facts) {
  const std::uint32_t block = facts.capacity.block_bytes;
  BlockTopology topology;
  topology.logical_block_size = block;
  topology.physical_block_size = facts.capacity.physical_block_bytes;
  topology.optimal_io_size = Bytes(facts.limits.optimal_transfer_blocks, block);
  if (facts.provisioning.unmap)
    topology.discard_granularity = std::max(Bytes(facts.limits.unmap_granularity, block), block);
  return topology;
}

DiskProbe::DiskProbe() { Begin(Step::kReady); }

void DiskProbe::Begin(Step step) {
  step_ = step;
  switch (step) {
    case Step::kReady:
      return Ask(TestUnitReady());
    case Step::kCapacity:
      return Ask(ReadCapacity16(kCapacityBytes));
    case Step::kCapacity10:
      return Ask(ReadCapacity10());
    case Step::kLimits:
      return Ask(InquiryPage(kLimitsPage, kLimitsBytes));
    case Step::kProvisioning:
      return Ask(InquiryPage(kProvisioningPage, kProvisioningBytes));
    case Step::kMode:
      return Ask(ModeSense6(kModeBytes));
    case Step::kDone:
      return;
  }
}

void DiskProbe::Ask(const ScsiCommand& command) {
  command_ = command;
  data_.assign(command.bytes, std::byte{0});
  iov_ = {data_.data(), data_.size()};
  if (command.bytes > 0) command_.iov = {&iov_, 1};
}

void DiskProbe::Stop(std::string problem) {
  problem_ = std::move(problem);
  step_ = Step::kDone;
}

void DiskProbe::OnCapacity(const ScsiOutcome& outcome, std::span<const std::byte> received) {
  if (step_ == Step::kCapacity && outcome.status == ScsiStatus::kReservationConflict)
    return Begin(Step::kCapacity10);
  if (!outcome.good())
    return Stop(fmt::format("READ CAPACITY: status {:#x}, sense {:x}/{:04x}",
                            static_cast<unsigned>(outcome.status),
                            static_cast<unsigned>(outcome.key), outcome.code));
  const auto capacity =
      step_ == Step::kCapacity ? ParseCapacity(received) : ParseCapacity10(received);
  if (!capacity) return Stop("READ CAPACITY: not a disk that this can use");
  facts_.capacity = *capacity;
  Begin(Step::kLimits);
}

void DiskProbe::OnOutcome(const ScsiOutcome& outcome) {
  CHECK(!done());
  if (outcome.lost) return Stop("no answer");
  const bool attention =
      outcome.status == ScsiStatus::kCheckCondition && outcome.key == SenseKey::kUnitAttention;
  if (attention && ++attentions_ <= kMaxAttentions) return Begin(step_);
  if (outcome.status == ScsiStatus::kReservationConflict) reserved_ = true;
  const bool refused = !outcome.good();
  auto received = std::span<const std::byte>(data_);
  received = received.first(received.size() - std::min<std::size_t>(outcome.missing, data_.size()));
  switch (step_) {
    case Step::kReady:
      return Begin(Step::kCapacity);
    case Step::kCapacity:
    case Step::kCapacity10:
      return OnCapacity(outcome, received);
    case Step::kLimits:
      if (!refused) facts_.limits = ParseLimits(received);
      return Begin(Step::kProvisioning);
    case Step::kProvisioning:
      if (!refused) facts_.provisioning = ParseProvisioning(received);
      return Begin(Step::kMode);
    case Step::kMode:
      if (!refused) facts_.mode = ParseMode(received);
      step_ = Step::kDone;
      return;
    case Step::kDone:
      return;
  }
}

}  // namespace gemel::block
