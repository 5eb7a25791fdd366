// What a call is answered with when it fails: google.rpc.Status, whose details name the reason for
// programs (ErrorInfo) and, where there is one, the field with its value (BadRequest), the resource
// (ResourceInfo) or what must be changed first (PreconditionFailure). Any thread.
#pragma once
#include <expected>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "proto/google/rpc/status.pb.h"

namespace gemel::daemon {

using ApiError = google::rpc::Status;
template <class T>
using ApiResult = std::expected<T, ApiError>;

// Stable words of ErrorInfo.reason; domain "gemel".
namespace reason {
inline constexpr std::string_view kInvalidField = "INVALID_FIELD";
inline constexpr std::string_view kImmutableField = "IMMUTABLE_FIELD";
inline constexpr std::string_view kRequestIdReused = "REQUEST_ID_REUSED";
inline constexpr std::string_view kEtagMismatch = "ETAG_MISMATCH";
inline constexpr std::string_view kNotFound = "RESOURCE_NOT_FOUND";
inline constexpr std::string_view kAlreadyExists = "RESOURCE_ALREADY_EXISTS";
inline constexpr std::string_view kWrongState = "WRONG_STATE";
inline constexpr std::string_view kInUse = "RESOURCE_IN_USE";
inline constexpr std::string_view kStoreFailed = "STORE_FAILED";
inline constexpr std::string_view kStartFailed = "START_FAILED";
inline constexpr std::string_view kEndedEarly = "ENDED_EARLY";
inline constexpr std::string_view kSuperseded = "SUPERSEDED";
inline constexpr std::string_view kCancelled = "CANCELLED";
inline constexpr std::string_view kTimeout = "TIMEOUT";
inline constexpr std::string_view kDaemonRestarted = "DAEMON_RESTARTED";
inline constexpr std::string_view kTokenExpired = "RESUME_TOKEN_EXPIRED";
inline constexpr std::string_view kHostRefused = "HOST_REFUSED";
}  // namespace reason

using Metadata = std::initializer_list<std::pair<std::string_view, std::string_view>>;

ApiError MakeApiError(Code code, std::string_view reason, std::string_view message,
                      Metadata metadata = {});
// kInvalidArgument: `field` is its path from the request, `description` has the value in it.
ApiError InvalidField(std::string_view field, std::string_view description,
                      std::string_view reason = reason::kInvalidField);
// kNotFound for `name` ("projects/p/vms/v"), `type` being "vm", "disk", …
ApiError ResourceNotFound(std::string_view type, std::string_view name);
ApiError ResourceExists(std::string_view type, std::string_view name, std::string_view since);
// kFailedPrecondition: `subject` must change first, as `message` says.
ApiError WrongState(std::string_view subject, std::string_view message,
                    std::string_view reason = reason::kWrongState);
// An error of a layer below, its message and code as they are.
ApiError FromError(const Error& error, std::string_view reason);

// `text` for a message of the API: gRPC and protobuf take UTF-8 alone, and a path or a guest's word may
// be anything. What is not printable ASCII becomes '?'; at most 2 KiB.
std::string Printable(std::string_view text);

// The reason of an error made here; empty if it has none.
std::string ReasonOf(const ApiError& error);

}  // namespace gemel::daemon
