#include "storage/claim_driver.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gemel::storage {
namespace {

using cluster::StorageAnswer;
using cluster::StorageCommand;
using cluster::StorageKey;
using Op = StorageCommand::Op;

block::ReservationCommand ToReservation(const StorageCommand& command) {
  block::ReservationCommand out;
  out.mine = cluster::EncodeStorageKey(command.mine);
  switch (command.op) {
    case Op::kNone:
      break;
    case Op::kRegister:
      out.op = block::ReservationCommand::Op::kRegister;
      break;
    case Op::kRead:
      out.op = block::ReservationCommand::Op::kRead;
      break;
    case Op::kPreemptAndAbort:
      out.op = block::ReservationCommand::Op::kPreemptAndAbort;
      out.other = cluster::EncodeStorageKey(command.other);
      break;
    case Op::kReserve:
      out.op = block::ReservationCommand::Op::kReserve;
      break;
  }
  return out;
}

StorageAnswer Unknown(std::string* note, std::string why) {
  *note = std::move(why);
  return {};
}

// False: no room.
bool AddKey(StorageAnswer& answer, const StorageKey& key) {
  const auto end = answer.keys.begin() + answer.key_count;
  if (std::find(answer.keys.begin(), end, key) != end) return true;
  if (answer.key_count == answer.keys.size()) return false;
  answer.keys[answer.key_count++] = key;
  return true;
}

// What one disk says of keys and holder, into what all say.
std::string AddDisk(StorageAnswer& all, const block::ReservationAnswer& one,
                    const StorageKey& mine) {
  for (const block::ReservationKey bytes : one.keys) {
    const StorageKey key = cluster::DecodeStorageKey(bytes);
    if (key.node == 0)
      return fmt::format("key {:#018x} is registered, which is none of Gemel's", bytes);
    if (key != mine && !AddKey(all, key)) return "too many keys are registered";
  }
  const StorageKey holder = cluster::DecodeStorageKey(one.holder);
  if (one.holder != 0 && holder.node == 0)
    return fmt::format("key {:#018x} holds the reservation, which is none of Gemel's", one.holder);
  // Somebody else's first: they are whom the claim preempts next.
  if (holder != mine) all.holder = holder;
  return "";
}

}  // namespace

struct ClaimDriver::Round {
  StorageCommand command;
  Done done;
  std::vector<block::ReservationAnswer> answers;
  std::size_t missing = 0;
};

void ClaimDriver::Execute(const StorageCommand& command, Done done) {
  CHECK(command.op != Op::kNone && (round_ == nullptr || round_->missing == 0));
  round_ = std::make_shared<Round>();
  round_->command = command;
  round_->done = std::move(done);
  round_->answers.resize(ports_.size());
  round_->missing = ports_.size();
  const block::ReservationCommand wanted = ToReservation(command);
  // A port may answer at once, and `done` then begins the next round.
  const std::shared_ptr<Round> round = round_;
  if (wanted.mine == 0 || ports_.empty()) {
    round->missing = 0;
    std::exchange(round->done, nullptr)(StorageAnswer{}, "an epoch that no key can say");
    return;
  }
  for (std::size_t i = 0; i < ports_.size(); ++i)
    ports_[i]->Reserve(wanted, [i, weak = std::weak_ptr(round)](block::ReservationAnswer answer) {
      const std::shared_ptr<Round> then = weak.lock();
      if (!then || then->missing == 0) return;
      then->answers[i] = std::move(answer);
      if (--then->missing == 0) Finish(*then);
    });
}

void ClaimDriver::Finish(Round& round) {
  std::string note;
  const StorageAnswer answer = Merge(round.command, round.answers, &note);
  std::exchange(round.done, nullptr)(answer, note);
}

StorageAnswer Merge(const StorageCommand& command,
                    const std::vector<block::ReservationAnswer>& answers, std::string* note) {
  using Result = block::ReservationAnswer::Result;
  for (const block::ReservationAnswer& one : answers)
    if (one.result == Result::kUnknown) return Unknown(note, one.note);
  StorageAnswer all;
  all.result = StorageAnswer::Result::kGood;
  if (command.op != Op::kRead) {
    for (const block::ReservationAnswer& one : answers)
      if (one.result == Result::kConflict) all.result = StorageAnswer::Result::kConflict;
    return all;
  }
  const block::ReservationKey mine = cluster::EncodeStorageKey(command.mine);
  const auto has_mine = [&](const auto& one) {
    return std::ranges::find(one.keys, mine) != one.keys.end();
  };
  // First, so that it has room whatever else is there.
  if (std::ranges::all_of(answers, has_mine)) AddKey(all, command.mine);
  const auto holds = [&](const auto& one) { return one.holder == mine; };
  if (std::ranges::all_of(answers, holds)) all.holder = command.mine;
  for (const block::ReservationAnswer& one : answers) {
    if (one.result != Result::kGood) return Unknown(note, "a conflict where keys were read");
    std::string problem = AddDisk(all, one, command.mine);
    if (!problem.empty()) return Unknown(note, std::move(problem));
  }
  return all;
}

}  // namespace gemel::storage
