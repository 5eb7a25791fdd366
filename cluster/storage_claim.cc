#include "cluster/storage_claim.h"

#include <algorithm>
#include <span>

namespace gemel::cluster {

StorageCommand StorageClaim::Next() const {
  switch (phase_) {
    case Phase::kRegister:
      return {StorageCommand::Op::kRegister, mine_, {}};
    case Phase::kRead:
      return {StorageCommand::Op::kRead, mine_, {}};
    case Phase::kPreempt:
      return {StorageCommand::Op::kPreemptAndAbort, mine_, victim_};
    case Phase::kReserve:
      return {StorageCommand::Op::kReserve, mine_, {}};
    case Phase::kHeld:
    case Phase::kRefused:
      break;
  }
  return {};
}

void StorageClaim::OnAnswer(const StorageAnswer& answer, const Rules& rules) {
  switch (phase_) {
    case Phase::kPreempt:
      phase_ = rules.mutations.no_preempt_verification ? Phase::kHeld : Phase::kRead;
      return;
    case Phase::kRegister:
    case Phase::kReserve:
      phase_ = Phase::kRead;
      return;
    case Phase::kRead:
      if (answer.result == StorageAnswer::Result::kGood) phase_ = AfterRead(answer);
      return;
    case Phase::kHeld:
    case Phase::kRefused:
      return;
  }
}

StorageClaim::Phase StorageClaim::AfterRead(const StorageAnswer& answer) {
  const std::span keys(answer.keys.data(),
                       std::min<std::size_t>(answer.key_count, answer.keys.size()));
  bool registered = false;
  victim_ = {};
  for (const StorageKey& key : keys) {
    if (key == mine_) {
      registered = true;
      continue;
    }
    if (key.epoch >= mine_.epoch) return Phase::kRefused;
    if (key.node != mine_.node) saw_other_node_ = true;
    if (victim_.node == 0 || key == answer.holder) victim_ = key;
  }
  if (!registered) return Phase::kRegister;
  if (victim_.node != 0) return Phase::kPreempt;
  return answer.holder == mine_ ? Phase::kHeld : Phase::kReserve;
}

}  // namespace gemel::cluster
