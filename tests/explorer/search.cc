#include "tests/explorer/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <unordered_set>

#include "tests/explorer/canonical.h"

namespace gemel::explorer {
namespace {

// Hash of a state to its number, open addressing.
class Known {
 public:
  Known() : slots_(1U << 16) {}
  // Whether it is new.
  bool Add(std::uint64_t hash) {
    if (hash == 0) hash = 1;
    if (2 * count_ >= slots_.size()) Grow();
    return Insert(hash);
  }
  std::uint64_t size() const { return count_; }

 private:
  bool Insert(std::uint64_t hash) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at] != 0 && slots_[at] != hash) at = (at + 1) & mask;
    if (slots_[at] == hash) return false;
    slots_[at] = hash;
    ++count_;
    return true;
  }
  void Grow() {
    std::vector<std::uint64_t> old(slots_.size() * 2);
    old.swap(slots_);
    count_ = 0;
    for (const std::uint64_t hash : old)
      if (hash != 0) Insert(hash);
  }
  std::vector<std::uint64_t> slots_;
  std::uint64_t count_ = 0;
};

struct Step {
  std::uint32_t parent;
  Action action;
};

struct Open {
  std::uint32_t number;
  std::string state;
};

class Searcher {
 public:
  explicit Searcher(const Config& config) : config_(config), cold_(Cold(config)) {}

  Found Run() {
    World first(config_);
    Visit(first, 0, {});
    while (!layer_.empty() && found_.broken.empty() && !Enough()) {
      std::vector<Open> layer;
      layer.swap(layer_);
      ++found_.depth;
      for (const Open& open : layer) {
        Expand(open);
        if (!found_.broken.empty() || Enough()) break;
      }
    }
    found_.complete = layer_.empty() && found_.broken.empty() && !Enough();
    found_.states = known_.size();
    return std::move(found_);
  }

 private:
  static Config Cold(Config config) {
    config.running = false;
    return config;
  }
  bool Enough() const { return config_.max_states > 0 && known_.size() >= config_.max_states; }

  void Expand(const Open& open) {
    World world = blank_;
    world.Load(Unsqueeze(open.state), config_);
    for (const Action& action : world.Possible()) {
      World next = world;
      ++found_.steps;
      const std::string broken = next.Apply(action);
      if (!broken.empty()) return Report(broken, open.number, action, next);
      Visit(next, open.number, action);
      if (!found_.broken.empty()) return;
    }
  }

  void Visit(World& world, std::uint32_t parent, const Action& action) {
    const std::string bytes = world.Save();
    if (!known_.Add(HashBytes(bytes))) return;
    const auto number = static_cast<std::uint32_t>(steps_.size());
    steps_.push_back({parent, action});
    layer_.push_back({number, Squeeze(bytes)});
    if (config_.check_liveness) CheckLife(world, number);
  }

  // From here, and with a majority: does the machine run in the end? For each who may be left.
  void CheckLife(const World& world, std::uint32_t number) {
    struct Future {
      std::uint8_t survivors;
      Do how;
      std::string_view text;
    };
    constexpr Future kFutures[] = {{3, Do::kCrash, "all heals"},
                                   {1, Do::kCrash, "B is off for ever"},
                                   {2, Do::kCrash, "A is off for ever"},
                                   {1, Do::kCut, "B is cut off for ever"},
                                   {2, Do::kCut, "A is cut off for ever"}};
    for (std::size_t i = 0; i < std::size(kFutures); ++i) {
      // Of a node that is cut off for ever nobody can say that it is off.
      if (config_.prove_off && kFutures[i].how == Do::kCut) continue;
      World future = world;
      future.HealFor(kFutures[i].survivors, kFutures[i].how);
      const std::string broken = RunForward(future, i);
      if (broken.empty()) continue;
      Trace(number);
      found_.trace.push_back(fmt::format("then {}", kFutures[i].text));
      found_.trace.push_back(future.Describe());
      found_.broken = broken;
      return;
    }
  }

  std::string RunForward(World& future, std::size_t kind) {
    constexpr int kTicks = 60;
    std::vector<std::uint64_t> path;
    for (int tick = 0; tick < kTicks; ++tick) {
      const std::uint64_t hash = HashBytes(future.Save()) * 31 + kind;
      if (future.Serves() || live_.contains(hash)) {
        live_.insert(path.begin(), path.end());
        found_.lives += path.size();
        return {};
      }
      path.push_back(hash);
      std::string broken = future.RunOneTick();
      if (!broken.empty()) return broken;
    }
    if (future.RightlyAlarmed()) {
      ++found_.alarms;
      return {};
    }
    return fmt::format("no progress in {} ticks with a majority", kTicks);
  }

  void Report(const std::string& broken, std::uint32_t parent, const Action& action,
              const World& end) {
    Trace(parent);
    found_.trace.push_back(Text(action));
    found_.trace.push_back("=> " + end.Describe());
    found_.broken = broken;
  }

  void Trace(std::uint32_t number) {
    std::vector<Action> actions;
    for (; number != 0; number = steps_[number].parent) actions.push_back(steps_[number].action);
    std::reverse(actions.begin(), actions.end());
    World world(config_);
    for (const Action& action : actions) {
      world.Apply(action);
      const std::string before = Text(action);
      found_.trace.push_back(action.what == Do::kTick || action.what >= Do::kCut
                                 ? before + "\n      " + world.Describe()
                                 : before);
    }
  }

  const Config& config_;
  const Config cold_;
  World blank_{cold_};  // what states are loaded into
  Known known_;
  std::vector<Step> steps_;
  std::vector<Open> layer_;
  std::unordered_set<std::uint64_t> live_;
  Found found_;
};

}  // namespace

Found Search(const Config& config) { return Searcher(config).Run(); }

}  // namespace gemel::explorer
