#include "block/iscsi/holder_check.h"

#include <fmt/format.h>

#include <utility>

namespace gemel::block {
namespace {

using Op = ReservationCommand::Op;
using Result = ReservationAnswer::Result;

}  // namespace

HolderCheck::HolderCheck(ReservationKey mine, bool taken, ReservationTraits* traits)
    : mine_(mine), taken_(taken), traits_(traits) {
  Next(Op::kRead);
}

HolderCheck::Verdict HolderCheck::Next(Op op) {
  op_ = op;
  const ReservationKey other = op == Op::kPreemptAndAbort ? mine_ : 0;
  runs_.push_back(std::make_unique<ReservationRun>(ReservationCommand{op, mine_, other}, traits_));
  return Verdict::kAgain;
}

HolderCheck::Verdict HolderCheck::Others(std::string why) {
  why_ = std::move(why);
  return Verdict::kOthers;
}

HolderCheck::Verdict HolderCheck::OnRunEnd() {
  const ReservationAnswer& answer = run().answer();
  if (answer.result == Result::kUnknown) {
    why_ = answer.note;
    return Verdict::kUnknown;
  }
  switch (op_) {
    case Op::kRead:
      return AfterRead(answer);
    case Op::kRegister:
      // kConflict: it is registered by an earlier try on this session, which is as good.
      preempted_ = true;
      return Next(Op::kPreemptAndAbort);
    case Op::kPreemptAndAbort:
      if (answer.result == Result::kConflict)
        return Others("another node has preempted this one meanwhile");
      return Next(Op::kRead);
    case Op::kReserve:
      break;
  }
  return Others("asked for nothing");
}

HolderCheck::Verdict HolderCheck::AfterRead(const ReservationAnswer& answer) {
  if (answer.holder != mine_)
    return Others(fmt::format("the reservation is that of key {:#x}, not of ours, {:#x}",
                              answer.holder, mine_));
  if (*traits_->aborts) return Verdict::kMine;
  if (answer.keys != std::vector<ReservationKey>{mine_})
    return Others("another node is registered, too");
  if (preempted_) return Verdict::kMine;
  if (taken_)
    return Others("the session was lost, and this target knows an owner by its session alone");
  return Next(Op::kRegister);
}

}  // namespace gemel::block
