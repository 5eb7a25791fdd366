// What an iSCSI target says: headers of PDUs, what a disk tells of itself, keys and reservations. No byte
// may do more than be refused, and what is accepted keeps the bounds that others rely on.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "block/iscsi/disk_probe.h"
#include "block/iscsi/holder_check.h"
#include "block/iscsi/pdu_guard.h"
#include "block/iscsi/reservation.h"
#include "block/iscsi/scsi.h"

namespace gemel::block {
namespace {

// The same stream, cut at other places, must be judged alike.
void Guard(std::span<const std::byte> bytes, std::size_t piece) {
  PduGuard whole, pieces;
  const bool accepted = whole.Feed(bytes);
  CHECK(!accepted || whole.data_left() <= kMaxSegmentBytes + 3);
  bool again = true;
  for (std::size_t at = 0; at < bytes.size() && again; at += piece)
    again = pieces.Feed(bytes.subspan(at, std::min(piece, bytes.size() - at)));
  CHECK(accepted == again);
}

void Disk(std::span<const std::byte> data) {
  for (const auto& capacity : {ParseCapacity(data), ParseCapacity10(data)}) {
    if (!capacity) continue;
    CHECK(std::has_single_bit(capacity->block_bytes) && capacity->block_bytes >= 512);
    CHECK(capacity->physical_block_bytes >= capacity->block_bytes);
    DiskFacts facts;
    facts.capacity = *capacity;
    facts.limits = ParseLimits(data);
    facts.provisioning = ParseProvisioning(data);
    CHECK(facts.bytes() / capacity->block_bytes == capacity->blocks);
    CHECK(TopologyOf(facts).logical_block_size == capacity->block_bytes);
  }
  ParseMode(data);
}

void Reservations(std::span<const std::byte> data) {
  if (const auto keys = ParseKeys(data)) CHECK(keys->keys.size() <= data.size() / 8);
  ParseReservation(data);
  ParseCapabilities(data);
}

// A target that answers as the bytes say.
class Script {
 public:
  explicit Script(std::span<const std::byte> bytes) : bytes_(bytes) {}

  // One command to its end.
  void Play(ReservationRun& run) {
    while (run.wants() != ReservationRun::Wants::kNothing) {
      ScsiOutcome outcome;
      outcome.status = static_cast<ScsiStatus>(Next());
      outcome.key = static_cast<SenseKey>(Next() & 0xf);
      outcome.missing = Next();
      if (run.wants() == ReservationRun::Wants::kCommand && !run.command().iov.empty() &&
          run.command().data == ScsiCommand::Data::kIn) {
        const iovec& into = run.command().iov[0];
        const std::size_t n = std::min(into.iov_len, bytes_.size());
        std::copy_n(bytes_.begin(), n, static_cast<std::byte*>(into.iov_base));
      }
      run.OnOutcome(outcome);
    }
  }

 private:
  std::uint8_t Next() {
    if (bytes_.empty()) return 0x40;
    const auto next = static_cast<std::uint8_t>(bytes_[0]);
    bytes_ = bytes_.subspan(1);
    return next;
  }

  std::span<const std::byte> bytes_;
};

void Run(std::span<const std::byte> bytes) {
  ReservationTraits traits;
  ReservationRun run({ReservationCommand::Op::kRead, 1, 0}, &traits);
  Script(bytes).Play(run);
}

// Whatever a target says, a disk is ours only if a read has said so.
void Check(std::span<const std::byte> bytes, bool taken) {
  Script script(bytes);
  ReservationTraits traits;
  HolderCheck check(1, taken, &traits);
  auto verdict = HolderCheck::Verdict::kAgain;
  while (verdict == HolderCheck::Verdict::kAgain) {
    script.Play(check.run());
    verdict = check.OnRunEnd();
  }
  if (verdict == HolderCheck::Verdict::kMine)
    CHECK(traits.reads && check.run().answer().holder == 1);
  else
    CHECK(!check.why().empty());
}

}  // namespace
}  // namespace gemel::block

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gemel::block;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  switch (data[0] % 4) {
    case 0:
      Guard(bytes, data[0] / 4u + 1u);
      break;
    case 1:
      Disk(bytes);
      break;
    case 2:
      Reservations(bytes);
      break;
    default:
      if ((data[0] & 4) == 0)
        Run(bytes);
      else
        Check(bytes, (data[0] & 8) != 0);
      break;
  }
  return 0;
}
