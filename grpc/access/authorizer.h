// The question each call is asked before anything else: may this caller do that?
//
// A service identifies the caller (call_identity.h), asks the authorizer, and only then looks whether
// the resource exists: a denial must not tell.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/file_util.h"
#include "base/mutex.h"
#include "base/result.h"
#include "grpc/access/caller.h"
#include "grpc/access/policy.h"

namespace gemel::access {

// Any thread.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  // kPermissionDenied says who may not do what, and which command would allow it.
  virtual Status Check(const Caller& caller, Permission permission,
                       std::string_view resource) const = 0;
  // For List of `parent` ("projects/web"; "*" for all projects): kPermissionDenied if the caller may
  // see nothing in it. Of the items it may see those that Check(kRead) passes.
  virtual Status CheckList(const Caller& caller, std::string_view parent) const = 0;
  // kResourceExhausted names the shortage.
  virtual Status CheckQuota(std::string_view project, const Usage& used,
                            const Usage& more) const = 0;
};

// The policy in a file; edits by hand count from the next call on. A file that is not understood
// leaves the last good policy in force, and a log line says so.
class PolicyStore : public Authorizer {
 public:
  // Reads `path`, or makes it: there root and the user that runs the daemon are admins of everything.
  static Result<std::unique_ptr<PolicyStore>> Open(const std::string& path);

  Status Check(const Caller& caller, Permission permission,
               std::string_view resource) const override;
  Status CheckList(const Caller& caller, std::string_view parent) const override;
  Status CheckQuota(std::string_view project, const Usage& used, const Usage& more) const override;

  struct Versioned {
    std::shared_ptr<const Policy> policy;
    std::string etag;
  };
  Versioned Get() const;
  // Durable when it returns. kAborted if `etag` is neither empty nor the current one;
  // kFailedPrecondition for a policy in which nobody is admin of everything: nobody could mend it.
  // Returns the new etag.
  Result<std::string> Set(const Policy& policy, std::string_view etag);

 private:
  explicit PolicyStore(std::string path) : path_(std::move(path)) {}
  void RefreshLocked() const REQUIRES(mutex_);
  Status LoadLocked() const REQUIRES(mutex_);

  const std::string path_;
  mutable Mutex mutex_;
  mutable FileStamp stamp_ GUARDED_BY(mutex_);
  mutable Versioned current_ GUARDED_BY(mutex_);
};

}  // namespace gemel::access
