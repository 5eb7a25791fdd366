#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace gemel {

Code CodeFromErrno(int error) {
  switch (error) {
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
      return Code::kInvalidArgument;
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return Code::kResourceExhausted;
    case EBUSY:
    case EAGAIN:
      return Code::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return Code::kUnimplemented;
    case EIO:
      return Code::kDataLoss;
    default:
      return Code::kUnknown;
  }
}

std::unexpected<Error> ErrnoError(int error, std::string_view what) {
  char buffer[128];
  return MakeError(CodeFromErrno(error),
                   fmt::format("{}: {}", what, strerror_r(error, buffer, sizeof buffer)));
}

std::unexpected<Error> WithContext(Error error, std::string_view context) {
  error.message = fmt::format("{}: {}", context, error.message);
  return std::unexpected(std::move(error));
}

}  // namespace gemel
