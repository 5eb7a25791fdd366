// What gemel's exit status says: docs/EXIT_CODES.md. Stable.
#pragma once

namespace gemel::cli {

inline constexpr int kDone = 0;        // done; of run: the guest is off
inline constexpr int kFailed = 1;      // the guest or the VMM failed; of host check: not fit
inline constexpr int kWrongInput = 2;  // nothing was started or changed
inline constexpr int kGuestPanicked = 3;
// Of what asks gemeld:
inline constexpr int kNoSuchThing = 4;
inline constexpr int kConflict =
    5;  // it is there already, was changed meanwhile, is in the wrong state
inline constexpr int kDenied = 6;    // the server does not know or not allow who asks
inline constexpr int kNoServer = 7;  // no answer
inline constexpr int kNoRoom = 8;    // a quota or the node has no room for it
inline constexpr int kTimedOut = 124;
inline constexpr int kSignalled = 128;  // + the signal's number: ended by it before the guest ran

}  // namespace gemel::cli
