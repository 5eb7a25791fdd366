// Which certificates no longer count: a revocation list in a file, read again when it changes.
#pragma once
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/file_util.h"
#include "base/mutex.h"
#include "base/result.h"

namespace gemel::pki {

// Serial numbers (lower-case hexadecimal) of a PEM revocation list. kPermissionDenied if it was not
// signed by the authority: somebody else's list must not let anybody back in.
Result<std::set<std::string>> ReadRevocationList(std::string_view pem,
                                                 std::string_view authority_pem);

// Any thread. Asking costs one stat(2), so a revocation counts from the next question on.
class RevocationList {
 public:
  // Fails if the list cannot be read now: a server must not begin without knowing.
  static Result<std::unique_ptr<RevocationList>> Open(std::string path, std::string authority_path);

  // A list that has become unreadable leaves the last good one in force, and a log line says so.
  bool IsRevoked(const std::string& serial);

 private:
  RevocationList(std::string path, std::string authority_path)
      : path_(std::move(path)), authority_path_(std::move(authority_path)) {}
  Status LoadLocked() REQUIRES(mutex_);

  const std::string path_;
  const std::string authority_path_;
  Mutex mutex_;
  FileStamp stamp_ GUARDED_BY(mutex_);
  std::set<std::string> revoked_ GUARDED_BY(mutex_);
};

}  // namespace gemel::pki
