// How well this node reaches the members of etcd, asked now and then on a thread of its own: for metrics.
// Nothing is decided by it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/timer.h"
#include "etcd/grpc_admin.h"

namespace gemel::daemon {

struct EtcdHealth {
  struct Member {
    std::string name;  // empty: it was added, and has never started
    bool answers = false;
    std::int64_t round_trip_ns = 0;  // of a call that waits for nothing but the way
    bool leader = false;
    std::int64_t stored_bytes = 0;
  };
  std::vector<Member> members;  // none: nobody says which there are
  bool no_space = false;        // no writes are taken: its quota is used up
  bool corrupt = false;
};

// Blocks.
EtcdHealth AskEtcd(etcd::Admin& admin, const Clock& clock);

class EtcdProbe {
 public:
  static constexpr std::int64_t kEveryMs = 15'000;

  // `path`: of the cluster's file, which is read anew each time.
  static Result<std::unique_ptr<EtcdProbe>> Start(std::string path);
  ~EtcdProbe();  // once what is being asked was answered
  EtcdProbe(const EtcdProbe&) = delete;
  EtcdProbe& operator=(const EtcdProbe&) = delete;

  // As it was last; any thread.
  EtcdHealth health() const;

 private:
  EtcdProbe(std::unique_ptr<EventLoop> loop, std::string path)
      : loop_(std::move(loop)), path_(std::move(path)) {}
  void Ask();

  const SystemClock clock_;
  const std::unique_ptr<EventLoop> loop_;
  const std::string path_;
  Timer timer_;
  std::thread thread_;
  mutable Mutex mutex_;
  EtcdHealth health_ GUARDED_BY(mutex_);
};

}  // namespace gemel::daemon
