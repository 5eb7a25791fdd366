// Whether a disk that was claimed for this epoch (cluster/storage_claim.h) is this session's to write.
// Asked at each login, before anything else. Pure.
//
// A full target knows an owner by its name: it is read that our key holds the reservation. A weaker one
// knows it by its session, and the one that claimed is over. Once for each epoch, its key, which is
// still the only one and holds the reservation, is then taken over by this session: registered, and the
// stale one of the same key preempted. A session that was lost later is not followed: a target that
// forgets reservations when it restarts would take us as gladly as anyone.
//
//   full     read ── ours holds ──▶ mine
//   weaker   read ── ours alone holds ─▶ REGISTER ─▶ PREEMPT ours ─▶ read ── ours alone holds ──▶ mine
//            whoever preempts us meanwhile takes the registration away, and PREEMPT is refused
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "block/iscsi/reservation.h"

namespace gemel::block {

class HolderCheck {
 public:
  enum class Verdict : std::uint8_t {
    kAgain,  // run() is another
    kMine,
    kOthers,   // why()
    kUnknown,  // why(); nothing follows from it
  };

  // `taken`: this epoch's disk was found to be ours before. `traits` outlive it.
  HolderCheck(ReservationKey mine, bool taken, ReservationTraits* traits);

  // What to do next, until it wants nothing; then OnRunEnd.
  ReservationRun& run() { return *runs_.back(); }
  Verdict OnRunEnd();
  const std::string& why() const { return why_; }

 private:
  Verdict Next(ReservationCommand::Op op);
  Verdict Others(std::string why);
  Verdict AfterRead(const ReservationAnswer& answer);

  const ReservationKey mine_;
  const bool taken_;
  ReservationTraits* const traits_;
  bool preempted_ = false;
  ReservationCommand::Op op_ = ReservationCommand::Op::kRead;
  // All of them: a target that answers too early may still be sent their data.
  std::vector<std::unique_ptr<ReservationRun>> runs_;
  std::string why_;
};

}  // namespace gemel::block
