#include "cli/client/client_error.h"

#include <grpcpp/support/status.h>

#include "cli/exit_status.h"
#include "cli/report.h"
#include "proto/google/rpc/error_details.pb.h"

namespace gemel::cli {
namespace {

std::string ListCommand(const std::string& command) {
  return fmt::format("gemel {} list", command.substr(0, command.find(' ')));
}

// What to try; "" where nothing general can be said.
std::string HintFor(Code code, const std::string& command, const std::string& server) {
  const std::string noun = command.substr(0, command.find(' '));
  switch (code) {
    case Code::kUnavailable:
      if (server.starts_with("unix:"))
        return "is gemeld running? systemctl status gemeld     another server: gemel context list";
      return "is it up, and is your certificate still good there? try: gemel context list";
    case Code::kUnauthenticated:
      return "another certificate, from who runs the authority: gemel pki issue NAME";
    case Code::kNotFound:
      return fmt::format("see what there is: {}", ListCommand(command));
    case Code::kAlreadyExists:
      return fmt::format(
          "to change it: gemel {0} update NAME …     to start over: gemel {0} "
          "delete NAME",
          noun);
    case Code::kAborted:
      return "it was changed meanwhile: look at it again, and repeat the command";
    case Code::kDeadlineExceeded:
      return "more time: --timeout 60s";
    case Code::kUnimplemented:
      return "the server is older than this program, or was built without it";
    default:
      return "";
  }
}

// The fields that the server names, if it names any.
std::string FieldsOf(const google::rpc::Status& status) {
  std::string fields;
  for (const auto& detail : status.details()) {
    google::rpc::BadRequest bad;
    if (!detail.UnpackTo(&bad)) continue;
    for (const auto& violation : bad.field_violations())
      fields += fmt::format("{}{}: {}", fields.empty() ? "" : "; ", violation.field(),
                            violation.description());
  }
  return fields;
}

Error Shown(Code code, std::string message, const google::rpc::Status& details,
            const std::string& command, const std::string& server) {
  const std::string fields = FieldsOf(details);
  // The server's message is the first field's, usually: nothing is said twice.
  if (!fields.empty() && message.find(fields) == std::string::npos) message = fields;
  const std::string hint = HintFor(code, command, server);
  Error error{code, std::move(message)};
  return hint.empty() ? error : WithHint(std::move(error), hint);
}

}  // namespace

Error FromGrpc(const grpc::Status& status, const std::string& command, const std::string& server) {
  const auto code = static_cast<Code>(status.error_code());
  google::rpc::Status details;
  static_cast<void>(details.ParseFromString(status.error_details()));
  std::string message = status.error_message();
  // gRPC 1.51 puts the cause behind this.
  constexpr std::string_view kCause = "last error: UNKNOWN: ";
  if (const std::size_t cause = message.rfind(kCause); cause != std::string::npos)
    message.erase(0, cause + kCause.size());
  if (message.empty()) message = fmt::format("{}: {}: not answered for", server, command);
  if (code == Code::kUnavailable)
    message = fmt::format("{}: no answer: {}", server, message);
  else if (code == Code::kDeadlineExceeded)
    message = fmt::format("{}: did not answer in time", server);
  return Shown(code, std::move(message), details, command, server);
}

Error FromRpcStatus(const google::rpc::Status& status, const std::string& command) {
  return Shown(static_cast<Code>(status.code()), status.message(), status, command, "");
}

int ExitStatusOf(Code code) {
  switch (code) {
    case Code::kOk:
      return kDone;
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return kWrongInput;
    case Code::kNotFound:
      return kNoSuchThing;
    case Code::kAlreadyExists:
    case Code::kFailedPrecondition:
    case Code::kAborted:
      return kConflict;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
      return kDenied;
    case Code::kUnavailable:
      return kNoServer;
    case Code::kResourceExhausted:
      return kNoRoom;
    case Code::kDeadlineExceeded:
      return kTimedOut;
    default:
      return kFailed;
  }
}

}  // namespace gemel::cli
