// What gemel's exit status says: docs/EXIT_CODES.md. Stable.
#pragma once

namespace gemel::cli {

inline constexpr int kDone = 0;        // done; of run: the guest is off
inline constexpr int kFailed = 1;      // the guest or the VMM failed; of host check: not fit
inline constexpr int kWrongInput = 2;  // nothing was started or changed
inline constexpr int kGuestPanicked = 3;
inline constexpr int kTimedOut = 124;
inline constexpr int kSignalled = 128;  // + the signal's number: ended by it before the guest ran

}  // namespace gemel::cli
