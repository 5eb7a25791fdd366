// Following a piece of work until it is done.
#pragma once
#include "base/result.h"
#include "cli/client/session.h"
#include "proto/gemel/v1/operations.pb.h"

namespace gemel::cli {

// Shows stage and progress on stderr if that is a terminal, and how it ended there too. The work's own
// error if it failed; kDeadlineExceeded at --timeout. Goes on through a restart of the server. Ctrl-C
// ends only the waiting, says how to take it up again, and exits with 130.
Status WaitForOperation(Session& session, v1::Operation operation);

// What a changing verb does with the operation it was answered with: follows it if --wait, else says
// how to; with -o json, yaml or name it prints the operation itself.
Status FinishChange(Session& session, const v1::Operation& operation, const std::string& what);

}  // namespace gemel::cli
