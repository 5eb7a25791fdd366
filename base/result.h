// Errors as values. Result<T> is a T or an Error; Status is success or an Error.
//
// Control plane only: an Error owns a string. Where a guest can make an operation fail, use
// std::expected<T, SmallEnum> instead, so that failing costs neither an allocation nor a log line.
//
//   Result<UniqueFd> OpenDisk(const std::string& path) {
//     ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDWR));
//     RETURN_IF_ERROR(CheckSize(fd));
//     return fd;
//   }
//
// Context is added once a layer, outermost first: "open disk /a/b: Permission denied".
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace gemel {

// gRPC's canonical codes, by number. Which of three, when a caller might try again:
// kUnavailable if the same call may succeed later, kAborted if a larger step must be redone,
// kFailedPrecondition if the state must be changed first.
enum class Code : std::uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

struct Error {
  Code code = Code::kUnknown;
  std::string message;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};
using Status = Result<void>;

inline std::unexpected<Error> MakeError(Code code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

template <class... Args>
std::unexpected<Error> InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(Code::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
std::unexpected<Error> FailedPrecondition(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(Code::kFailedPrecondition, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
std::unexpected<Error> Internal(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(Code::kInternal, fmt::format(format, std::forward<Args>(args)...));
}

// The code that fits an errno best; kUnknown where none does.
Code CodeFromErrno(int error);

// "<what>: <strerror(error)>" with the code of that errno.
std::unexpected<Error> ErrnoError(int error, std::string_view what);

// The same error with "<context>: " in front of its message.
std::unexpected<Error> WithContext(Error error, std::string_view context);

}  // namespace gemel

#define GEMEL_CONCAT_INNER(a, b) a##b
#define GEMEL_CONCAT(a, b) GEMEL_CONCAT_INNER(a, b)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define RETURN_IF_ERROR(expression)                               \
  do {                                                            \
    if (auto status_or_error = (expression); !status_or_error)    \
      return std::unexpected(std::move(status_or_error).error()); \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  GEMEL_ASSIGN_OR_RETURN(GEMEL_CONCAT(result_of_line_, __LINE__), declaration, expression)
#define GEMEL_ASSIGN_OR_RETURN(result, declaration, expression)   \
  auto result = (expression);                                     \
  if (!result) return std::unexpected(std::move(result).error()); \
  declaration = std::move(*result)
// NOLINTEND(bugprone-macro-parentheses)
