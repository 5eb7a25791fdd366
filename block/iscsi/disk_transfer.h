// What one BlockRequest takes in SCSI commands, one after another, without sending them. Pure.
#pragma once
#include <cstdint>
#include <vector>

#include "block/backend.h"
#include "block/iscsi/disk_probe.h"
#include "block/iscsi/scsi.h"

namespace gemel::block {

// What a disk can do, as far as is known: a command that it refuses is not tried again.
struct DiskAbilities {
  explicit DiskAbilities(const DiskFacts& facts);
  std::uint32_t block_bytes;
  std::uint32_t transfer_blocks;    // at most in one READ or WRITE
  std::uint32_t unmap_blocks;       // at most in one UNMAP; 0: none
  std::uint32_t write_same_blocks;  // at most in one WRITE SAME; 0: none
  bool write_same_unmaps;
  bool durable_writes;  // FUA
};

class DiskTransfer {
 public:
  enum class Verdict : std::uint8_t {
    kNext,      // there is another command
    kAgain,     // the same once more
    kLater,     // the same once more, when some time has passed: the target is busy
    kConflict,  // somebody else has the disk reserved
    kDone,      // result() says how
  };

  // `abilities` outlive it. kNext or kDone.
  Verdict Begin(const BlockRequest& request, DiskAbilities* abilities);
  // Valid, memory included, until the outcome is told or this begins anew.
  const ScsiCommand& Next();
  // REQUIRES: not lost: then Next() simply gives the command again.
  Verdict OnOutcome(const ScsiOutcome& outcome);

  std::int64_t result() const { return result_; }
  const BlockRequest& request() const { return request_; }
  void Fail(int error) { result_ = -error; }

 private:
  void MoveData(std::uint32_t most_blocks);
  void Unmap();
  void WriteSame();
  void WriteZeroes();
  bool FallBack(const ScsiOutcome& outcome);
  Verdict OnSense(const ScsiOutcome& outcome);
  Verdict End(std::int64_t result);
  std::uint32_t Blocks(std::uint64_t most) const;
  std::uint64_t block() const { return (request_.offset + done_) / abilities_->block_bytes; }

  DiskAbilities* abilities_ = nullptr;
  BlockRequest request_;
  std::uint64_t total_ = 0;  // bytes
  std::uint64_t done_ = 0;   // bytes
  std::uint64_t piece_ = 0;  // bytes of the command in progress
  bool synchronizing_ = false;
  int retries_ = 0;
  std::int64_t result_ = 0;
  ScsiCommand command_;
  std::vector<iovec> iov_;
  std::array<std::byte, kUnmapBytes> parameters_{};
};

}  // namespace gemel::block
