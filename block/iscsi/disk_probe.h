// What a disk says of itself, asked command by command.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/backend.h"
#include "block/iscsi/scsi.h"

namespace gemel::block {

struct DiskFacts {
  DiskCapacity capacity;
  DiskLimits limits;
  Provisioning provisioning;
  ModeBits mode;

  std::uint64_t bytes() const { return capacity.blocks * capacity.block_bytes; }
};
// What a device tells its guest.
BlockTopology TopologyOf(const DiskFacts& facts);

// next() is to be done, and its outcome told to OnOutcome(), until done().
class DiskProbe {
 public:
  DiskProbe();
  DiskProbe(const DiskProbe&) = delete;
  DiskProbe& operator=(const DiskProbe&) = delete;

  bool done() const { return step_ == Step::kDone; }
  const ScsiCommand& next() const { return command_; }  // its memory is ours
  void OnOutcome(const ScsiOutcome& outcome);

  // Once done: what was found, if there is no problem.
  const DiskFacts& facts() const { return facts_; }
  // Somebody else has the disk reserved, and we may ask for little.
  bool reserved() const { return reserved_; }
  const std::string& problem() const { return problem_; }  // empty: none

 private:
  enum class Step : std::uint8_t {
    kReady,
    kCapacity,
    kCapacity10,
    kLimits,
    kProvisioning,
    kMode,
    kDone
  };

  void Begin(Step step);
  void Ask(const ScsiCommand& command);
  void Stop(std::string problem);
  void OnCapacity(const ScsiOutcome& outcome, std::span<const std::byte> received);

  Step step_ = Step::kReady;
  int attentions_ = 0;
  DiskFacts facts_;
  bool reserved_ = false;
  std::string problem_;
  ScsiCommand command_;
  std::vector<std::byte> data_;
  iovec iov_{};
};

}  // namespace gemel::block
