// std::mutex with clang's thread-safety annotations. TSan follows it; a prebuilt mutex it would
// not.
#pragma once
#include <mutex>

#if defined(__clang__)
#define GEMEL_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define GEMEL_THREAD_ANNOTATION(x)
#endif
// Debian's Abseil, which gRPC's headers bring along, has the same words with the same meaning.
#undef GUARDED_BY
#undef NO_THREAD_SAFETY_ANALYSIS
#define GUARDED_BY(x) GEMEL_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) GEMEL_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) GEMEL_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS GEMEL_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace gemel {

class GEMEL_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void Lock() GEMEL_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void Unlock() GEMEL_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  // For std::condition_variable_any.
  void lock() GEMEL_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() GEMEL_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class GEMEL_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) GEMEL_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() GEMEL_THREAD_ANNOTATION(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace gemel
