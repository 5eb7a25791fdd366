#include "tests/explorer/storage_model.h"

#include <algorithm>

#include "base/check.h"

namespace gemel::explorer {

using cluster::StorageAnswer;
using cluster::StorageCommand;
using cluster::StorageKey;

bool Storage::Has(const StorageKey& key) const {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

void Storage::Register(const StorageKey& key) {
  if (Has(key)) return;
  auto room = std::find(keys.begin(), keys.end(), StorageKey{});
  CHECK(room != keys.end());
  *room = key;
  std::sort(keys.begin(), room + 1);
}

void Storage::Remove(const StorageKey& key) {
  auto found = std::find(keys.begin(), keys.end(), key);
  if (found == keys.end()) return;
  std::move(found + 1, keys.end(), found);
  keys.back() = {};
}

// SPC-4 5.13.11: PREEMPT of the holder's key makes the sender the holder; of another key, removes it.
StorageAnswer Storage::Execute(const StorageCommand& command) {
  StorageAnswer answer;
  answer.result = StorageAnswer::Result::kGood;
  if (command.op == StorageCommand::Op::kRegister) {
    Register(command.mine);
    return answer;
  }
  if (command.op == StorageCommand::Op::kRead) {
    for (const StorageKey& key : keys)
      if (key.node != 0) answer.keys[answer.key_count++] = key;
    answer.holder = holder;
    return answer;
  }
  answer.result = StorageAnswer::Result::kConflict;
  if (!Has(command.mine)) return answer;
  if (command.op == StorageCommand::Op::kReserve) {
    if (holder.node != 0 && holder != command.mine) return answer;
    holder = command.mine;
  } else {
    if (!Has(command.other)) return answer;
    if (holder == command.other) holder = command.mine;
    Remove(command.other);
  }
  answer.result = StorageAnswer::Result::kGood;
  return answer;
}

bool Storage::Accepts(StorageKind kind, const StorageKey& key) const {
  if (kind == StorageKind::kAccepting || kind == StorageKind::kMute || holder.node == 0)
    return true;
  if (kind == StorageKind::kRegistrants) return Has(key);
  return holder == key;
}

StorageAnswer MuteAnswer(const StorageCommand& command) {
  StorageAnswer answer;
  answer.result = StorageAnswer::Result::kGood;
  if (command.op != StorageCommand::Op::kRead) return answer;
  answer.keys[0] = command.mine;
  answer.key_count = 1;
  answer.holder = command.mine;
  return answer;
}

}  // namespace gemel::explorer
