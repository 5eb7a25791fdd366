// A failed call as the user sees it: what is wrong, what to do, and which exit status.
#pragma once
#include <string>

#include "base/result.h"
#include "proto/google/rpc/status.pb.h"

namespace grpc {
class Status;
}

namespace gemel::cli {

// `command` is what the user typed ("vm start"), `server` whom it was asked of.
Error FromGrpc(const grpc::Status& status, const std::string& command, const std::string& server);
// An operation's error.
Error FromRpcStatus(const google::rpc::Status& status, const std::string& command);

// docs/EXIT_CODES.md.
int ExitStatusOf(Code code);

}  // namespace gemel::cli
