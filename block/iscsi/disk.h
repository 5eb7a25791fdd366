// A disk on an iSCSI target, as a BlockBackend.
//
// The target may go away: requests are then held, not failed, and the session is made anew, with the
// same nexus, for as long as it takes; it never registers for a persistent reservation by that. What a
// lost session leaves unknown is sent again: a new session of the same nexus ends what is left of the
// old one first (RFC 7143, 6.3.5).
//
// RESERVATION CONFLICT is for ever: somebody else may write now. Nothing is sent again; Conflict says
// what becomes of the requests. A new nexus (SetNexus) begins anew.
//
// Not implemented: digests, more than one connection, redirection of the login, mutual CHAP.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "block/backend.h"
#include "block/iscsi/reservation.h"
#include "block/iscsi/session.h"
#include "block/iscsi/shared_claim.h"

namespace gemel::block {

struct IscsiOptions {
  UniqueFd dialer;  // our end of block/iscsi/dial.h
  IscsiAddress address;
  IscsiNexus nexus;
  bool read_only = false;
  std::uint32_t depth = 128;  // requests in flight, 1 to 1024
  // For Reserve() alone: whom a reservation shuts out may not even learn the disk's size.
  bool claims_only = false;
  enum class Conflict : std::uint8_t {
    kFail,  // they end with -EBADE, and so do all that follow
    kHold,  // they never end: whoever fences this machine ends it
  };
  Conflict conflict = Conflict::kFail;
  // Once for each nexus, on the thread that calls Submit and Reap.
  std::function<void()> on_conflict = nullptr;
  std::chrono::milliseconds open_timeout{10'000};  // 0, with claims_only: nothing is waited for
  // Outlives the disk. With it the nexus is that of the claim, and at each login it is found out whether
  // the disk is still ours (holder_check.h): if not, it is a conflict.
  const SharedClaim* claims = nullptr;
  std::size_t number = 0;  // of the disk, for `claims`
  // Outlives the disk. Without it nothing is sent, and the session ends: requests are held.
  Permit* permit = nullptr;
  // Of silence with requests in flight, after which a sign of life is asked for; after as much again
  // the session is given up.
  std::chrono::milliseconds patience{5'000};
};

class IscsiDisk : public BlockBackend {
 public:
  using ReservationCallback = std::function<void(ReservationAnswer)>;

  // Ends the session and begins another under this nexus. Requests are held until GoOn(), so that the
  // disk can be claimed first.
  virtual void SetNexus(const IscsiNexus& nexus) = 0;
  virtual void GoOn() = 0;
  // Asks the target on this very session (some targets know a nexus by its session alone). One at a
  // time. `done` is called from Submit or Reap; kUnknown if the session is lost.
  virtual void Reserve(const ReservationCommand& command, ReservationCallback done) = 0;
  virtual bool connected() const = 0;
  virtual bool conflicted() const = 0;
  // As far as reservation commands have shown.
  virtual FenceStrength strength() const = 0;
};

// Logs in and looks at the disk, waiting for that. An error names what the target or the dialer said;
// kAborted: the disk is another's (a conflict). After it: any one thread at a time, as for all
// backends. With `claims_only` it is of size 0 and has no room for requests.
Result<std::unique_ptr<IscsiDisk>> OpenIscsi(IscsiOptions options);

}  // namespace gemel::block
