// Takes a disk that can refuse (SCSI-3 persistent reservations, type Exclusive Access) for one epoch:
// registers, preempts and aborts every other key, and believes only what it then reads.
//
// Code of a take-over, and nothing else may REGISTER; reconnecting does not. Nobody ever releases a
// reservation: the last owner's stays and refuses, until the next take-over preempts it.
#pragma once
#include <array>
#include <cstdint>
#include <tuple>

#include "cluster/records.h"
#include "cluster/timing.h"

namespace gemel::cluster {

struct StorageCommand {
  enum class Op : std::uint8_t { kNone, kRegister, kRead, kPreemptAndAbort, kReserve };
  Op op = Op::kNone;
  StorageKey mine;
  StorageKey other;  // kPreemptAndAbort
  auto fields() { return std::tie(op, mine, other); }
};

// kRead is READ KEYS and READ RESERVATION, with the same generation in both (else it is kUnknown).
struct StorageAnswer {
  enum class Result : std::uint8_t { kGood, kConflict, kUnknown };
  static constexpr std::size_t kMaxKeys = 16;
  Result result = Result::kUnknown;
  std::array<StorageKey, kMaxKeys> keys{};
  std::uint32_t key_count = 0;
  StorageKey holder;  // node 0: no reservation
};

class StorageClaim {
 public:
  enum class Phase : std::uint8_t {
    kRegister,
    kRead,
    kPreempt,
    kReserve,
    kHeld,     // proved: mine is the only key, and it holds the reservation
    kRefused,  // a key that is not below mine is there: this node is the one that is late
  };

  StorageClaim() = default;
  explicit StorageClaim(const StorageKey& mine) : mine_(mine) {}

  // kNone in kHeld and kRefused.
  StorageCommand Next() const;
  // To the command that Next() gave. Anything but kGood only leads to reading again.
  void OnAnswer(const StorageAnswer& answer, const Rules& rules);

  Phase phase() const { return phase_; }
  const StorageKey& mine() const { return mine_; }
  // A key of another node was seen while claiming.
  bool saw_other_node() const { return saw_other_node_; }
  auto fields() { return std::tie(mine_, phase_, victim_, saw_other_node_); }

 private:
  Phase AfterRead(const StorageAnswer& answer);

  StorageKey mine_;
  Phase phase_ = Phase::kRegister;
  StorageKey victim_;
  bool saw_other_node_ = false;
};

}  // namespace gemel::cluster
