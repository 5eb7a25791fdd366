// The published state of one kind of resource, by name: the manager loop puts, gRPC's threads get.
// A reader holds the value that was there when it looked, and never waits for the loop.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.h"

namespace gemel::daemon {

// Any thread.
template <class T>
class Directory {
 public:
  using Value = std::shared_ptr<const T>;

  void Put(const std::string& name, T value) EXCLUDES(mutex_) {
    auto shared = std::make_shared<const T>(std::move(value));
    MutexLock lock(mutex_);
    values_[name].swap(shared);
  }
  void Remove(const std::string& name) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    values_.erase(name);
  }
  // Null if there is none.
  Value Get(std::string_view name) const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : found->second;
  }
  std::size_t size() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return values_.size();
  }
  // Calls `visit` with each value whose name is above `after` and begins with `prefix`, in order,
  // until it returns false. The lock is held: `visit` does little.
  void Visit(const std::string& prefix, const std::string& after,
             const std::function<bool(const std::string&, const Value&)>& visit) const
      EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    auto it = after < prefix ? values_.lower_bound(prefix) : values_.upper_bound(after);
    for (; it != values_.end() && it->first.starts_with(prefix); ++it) {
      if (!visit(it->first, it->second)) return;
    }
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, Value, std::less<>> values_ GUARDED_BY(mutex_);
};

}  // namespace gemel::daemon
