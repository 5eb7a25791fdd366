// The fence agents of this node: switches off those nodes that must be, one run at a time for each, and
// says which are proved to be off. Whether a node must be is for its owner to say, and what follows, too.
// The loop's thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/timing.h"
#include "grpc/fence_agent.h"
#include "grpc/fence_duty.h"

namespace gemel::daemon {

// How one run of an agent ended.
struct FenceOutcome {
  bool ended =
      false;  // by itself, with `status`; else it was killed, timed out, or never began: `text`
  int status = -1;
  std::string text;  // what it said, or what was wrong; no secrets
};

class Fencing {
 public:
  using Done = std::function<void(const FenceOutcome&)>;
  // Has an agent do one thing; `done` is called once, later.
  using RunAgent =
      std::function<void(const FenceAgent& agent, const std::string& action, Done done)>;

  Fencing(std::map<std::string, FenceAgent> agents, RunAgent run,
          std::function<cluster::Time()> now)
      : agents_(std::move(agents)), run_(std::move(run)), now_(std::move(now)) {}

  bool Has(const std::string& node) const { return agents_.contains(node); }
  std::vector<std::string> nodes() const;

  // Who must be off: nodes by name, each with the session that was lost. What was found out of another
  // session is void. To be said at least once a second.
  void Need(const std::map<std::string, std::string>& lost);
  // Those of them that are proved to be off.
  std::vector<std::string> proved() const;
  // Why the last try for a node failed; empty: none has, or none was made.
  std::string trouble(const std::string& node) const;
  // Failures since this was asked last.
  struct Failure {
    std::string node;
    std::string text;
  };
  std::vector<Failure> TakeFailures() { return std::exchange(failures_, {}); }

  // "status" alone, of any node that has an agent.
  void Ask(const std::string& node, const Done& done) const;

 private:
  struct Work {
    std::string session;
    FenceDuty duty;
    std::string trouble;
    std::uint64_t number = 0;  // tells its answers from those of one before
  };

  void GoOn(const std::string& node, Work& work);
  void OnOutcome(const std::string& node, std::uint64_t number, FenceDuty::Step step,
                 const FenceOutcome& outcome);

  const std::map<std::string, FenceAgent> agents_;
  const RunAgent run_;
  const std::function<cluster::Time()> now_;
  std::map<std::string, Work> works_;
  std::vector<Failure> failures_;
  std::uint64_t last_number_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
