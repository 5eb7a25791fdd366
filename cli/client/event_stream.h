// Following what happens, through restarts of the server.
#pragma once
#include <functional>
#include <string>

#include "base/result.h"
#include "cli/client/session.h"
#include "proto/gemel/v1/events.pb.h"

namespace gemel::cli {

// The place in the stream of events before anything that happens from here on.
Result<std::string> TokenOfNow(Session& session);

// Calls `take` with each event after `token` (bookmarks aside) until it fails, the server refuses, or
// --timeout is over. A connection that breaks is made again, and no event is missed for it.
Status FollowEvents(Session& session, std::string token,
                    const std::function<Status(const v1::Event&)>& take,
                    const std::string& filter = "");

}  // namespace gemel::cli
