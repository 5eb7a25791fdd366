// Many nodes (sim_node.h) of one cluster, told what to do on stdin; what came of it is a line of JSON each.
//
//   many_nodes ENDPOINT,... KEEPERS NODES      KEEPERS/1/run/keeper.sock and so on are their keepers'
//
//   nodes               until all are members and know of each other
//   machines COUNT SIZE that many, specs of SIZE bytes, nobody's; until all run
//   probe COUNT         writes of a spec, one after the other: until the first and the last node has heard
//   lose NODE           its part of this program; until others run all that it had
//   memory              of this program, and of one view
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "cluster/page/page_memory.h"
#include "etcd/codec.h"
#include "etcd/spec_codec.h"
#include "grpc/paced_task.h"
#include "tests/bench/cluster/sim_node.h"

namespace gemel::daemon {
namespace {

using cluster::NodeId;
using cluster::Time;
using cluster::VmState;

constexpr std::int64_t kLookMs = 5;
constexpr std::int64_t kBetweenProbesMs = 20;
constexpr std::uint32_t kInOneTxn = 50;  // etcd takes 128 operations
constexpr std::uint64_t kMachine = 1;    // what each machine needs of what a node has

template <class... Args>
void Say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...) + "\n";
  CHECK(write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

double Ms(Time from, Time to) { return static_cast<double>((to - from).us) / 1000; }

// Of sorted values.
double Quantile(const std::vector<double>& values, double part) {
  const double last = static_cast<double>(values.size() - 1);
  return values.empty() ? 0 : values[static_cast<std::size_t>(last * part + 0.5)];
}

std::int64_t ResidentKib() {
  std::ifstream file("/proc/self/statm");
  std::int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * 4;
}

// A node is lost: what one of the others hears of it.
struct Loss {
  NodeId node = 0;
  Time began;
  std::optional<Time> fenced, first_taken, all_taken, all_run;
  std::set<std::uint32_t> to_take, to_run;
  std::map<NodeId, int> takers;
  std::size_t machines = 0;
};

struct Probe {
  int left = 0;
  std::string key;
  Time began;
  std::set<NodeId> waiting;
  std::vector<double> first_ms, last_ms;
};

class ManyNodes {
 public:
  ManyNodes(EventLoop* loop, std::vector<std::string> endpoints, const std::string& keepers,
            NodeId count)
      : loop_(loop), admin_(etcd::CreateGrpcKv(loop, {endpoints, {}, {}, {}, 10'000}).value()) {
    world_.loop = loop;
    world_.clock = &clock_;
    world_.weigh_soon = [this] { weigh_.Soon(); };
    world_.on_heard = [this](NodeId node, const auto& events) { OnHeard(node, events); };
    for (NodeId node = 1; node <= count; ++node) {
      world_.nodes.push_back({node, 0, false});
      // The nearest first: each has another.
      std::ranges::rotate(endpoints, endpoints.begin() + 1);
      nodes_[node] = std::make_unique<SimNode>(
          node, endpoints, fmt::format("{}/{}/run/keeper.sock", keepers, node), &world_);
    }
    CHECK(loop->Watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { OnInput(); }));
    Look();
  }

 private:
  void OnInput() {
    char buffer[4096];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n <= 0) return loop_->Stop();
    std::istringstream words(std::string(buffer, static_cast<std::size_t>(n)));
    std::string verb;
    std::uint32_t number = 0, size = 0;
    words >> verb >> number >> size;
    began_ = cluster::BootTime();
    if (verb == "nodes") until_ = [this] { return AllLive(); };
    if (verb == "machines") Populate(number, size);
    if (verb == "probe") StartProbes(static_cast<int>(number));
    if (verb == "lose") Lose(number);
    if (verb == "memory") SayMemory();
  }

  // Waits for whatever was asked for last.
  void Look() {
    if (until_ && until_()) until_ = nullptr;
    CHECK(timer_.Start(loop_, kLookMs, [this] { Look(); }));
  }

  bool AllLive() {
    for (const auto& [number, node] : nodes_)
      if (!node->live() || node->live_peers() + 1 < nodes_.size()) return false;
    Say(R"({{"nodes": {}, "seconds": {:.2f}}})", nodes_.size(),
        Ms(began_, cluster::BootTime()) / 1000);
    return true;
  }

  void Populate(std::uint32_t count, std::uint32_t size) {
    size_ = size;
    // Each node has a third more room than its part.
    for (WishedNode& node : world_.nodes) node.memory = count / nodes_.size() * 4 / 3 + 2;
    for (std::uint32_t first = 1; first <= count; first += kInOneTxn) {
      etcd::KvTxn txn;
      for (std::uint32_t vm = first; vm <= std::min(count, first + kInOneTxn - 1); ++vm) {
        txn.puts.push_back({etcd::SpecKey(vm), Spec(vm)});
        txn.puts.push_back(
            {etcd::NameKey(fmt::format("projects/p/vms/vm-{}", vm)), etcd::EncodeName(vm)});
        written_vms_.push_back({vm, {}, kMachine, false, {}});
      }
      ++writing_;
      admin_->Commit(std::move(txn), [this](const Result<etcd::KvTxnAnswer>& answer) {
        CHECK(answer && answer->succeeded);
        if (--writing_ == 0) AddAll();
      });
    }
    until_ = [this] { return AllRun(); };
  }

  void AddAll() {
    Say(R"({{"written_seconds": {:.2f}}})", Ms(began_, cluster::BootTime()) / 1000);
    began_ = cluster::BootTime();
    before_ = Sum();
    world_.vms = std::move(written_vms_);
    for (const auto& [number, node] : nodes_)
      for (const WishedVm& vm : world_.vms) node->Add(vm.vm);
    weigh_.Soon();
  }

  bool AllRun() {
    if (writing_ > 0 || Observer().running() < world_.vms.size()) return false;
    const SimNode::Counts now = Sum();
    Say(R"({{"machines": {}, "seconds": {:.2f}, "commits": {}, "refused": {}, "unknown": {}}})",
        world_.vms.size(), Ms(began_, cluster::BootTime()) / 1000, now.commits - before_.commits,
        now.refused - before_.refused, now.unknown - before_.unknown);
    return true;
  }

  std::string Spec(std::uint32_t vm) const {
    etcd::MachineSpec spec;
    spec.name = fmt::format("projects/p/vms/vm-{}", vm);
    spec.machine = std::string(size_, 'x') + fmt::format("{}", ++written_);
    return etcd::EncodeSpec(spec);
  }

  // ---- from a write to the last node that has it

  void StartProbes(int count) {
    probe_ = Probe();
    probe_.left = count;
    NextProbe();
  }
  void NextProbe() {
    const auto vm =
        static_cast<std::uint32_t>(static_cast<std::size_t>(probe_.left) % world_.vms.size()) + 1;
    probe_.key = etcd::SpecKey(vm);
    for (const auto& [number, node] : nodes_) probe_.waiting.insert(number);
    etcd::KvTxn txn;
    txn.puts = {{probe_.key, Spec(vm)}};
    probe_.began = cluster::BootTime();
    admin_->Commit(std::move(txn), [this](const Result<etcd::KvTxnAnswer>& answer) {
      if (!answer && probe_.waiting.size() == nodes_.size()) NextProbe();
    });
  }
  void HearProbe(NodeId node) {
    const bool first = probe_.waiting.size() == nodes_.size();
    if (probe_.waiting.erase(node) == 0) return;
    const double ms = Ms(probe_.began, cluster::BootTime());
    if (first) probe_.first_ms.push_back(ms);
    if (!probe_.waiting.empty()) return;
    probe_.last_ms.push_back(ms);
    probe_.key.clear();
    if (--probe_.left > 0) {
      CHECK(probe_timer_.Start(loop_, kBetweenProbesMs, [this] { NextProbe(); }));
      return;
    }
    std::ranges::sort(probe_.first_ms);
    std::ranges::sort(probe_.last_ms);
    Say(R"({{"first_p50_ms": {:.2f}, "first_p99_ms": {:.2f}, "last_p50_ms": {:.2f}, )"
        R"("last_p99_ms": {:.2f}}})",
        Quantile(probe_.first_ms, 0.5), Quantile(probe_.first_ms, 0.99),
        Quantile(probe_.last_ms, 0.5), Quantile(probe_.last_ms, 0.99));
  }

  // ---- the loss of a node

  void Lose(NodeId node) {
    loss_ = Loss{node, cluster::BootTime(), {}, {}, {}, {}, {}, {}, {}, 0};
    nodes_.erase(node);
    for (const auto& [vm, entry] : Observer().view()->vms())
      if (entry.value.owner == node) loss_->to_take.insert(vm);
    loss_->to_run = loss_->to_take;
    loss_->machines = loss_->to_take.size();
    for (const auto& [number, one] : nodes_) one->counts = {};
    until_ = [this] { return LossIsOver(); };
  }

  void HearLoss(const etcd::KeyEvent& event) {
    const auto key = etcd::DecodeKey(event.key_value.key);
    if (!key) return;
    const Time now = cluster::BootTime();
    if (key->kind == cluster::KeyKind::kSession && key->id == loss_->node) loss_->fenced = now;
    if (key->kind != cluster::KeyKind::kVm) return;
    const cluster::Ownership record = etcd::DecodeOwnership(event.key_value.value).value();
    if (record.owner == loss_->node) return;
    if (loss_->to_take.erase(key->id) > 0) {
      ++loss_->takers[record.owner];
      if (!loss_->first_taken) loss_->first_taken = now;
      if (loss_->to_take.empty()) loss_->all_taken = now;
    }
    if (record.state == VmState::kRunning && loss_->to_run.erase(key->id) > 0 &&
        loss_->to_run.empty())
      loss_->all_run = now;
  }

  bool LossIsOver() {
    if (!loss_->all_run) return false;
    const SimNode::Counts sum = Sum();
    int most = 0;
    for (const auto& [node, count] : loss_->takers) most = std::max(most, count);
    Say(R"({{"lost": {}, "fenced_ms": {:.1f}, "first_taken_ms": {:.1f}, "all_taken_ms": {:.1f}, )"
        R"("all_run_ms": {:.1f}, "takers": {}, "most_of_one": {}, "commits": {}, "refused": {}, )"
        R"("unknown": {}, "weighs": {}, "weigh_ms": {:.2f}, "longest_weigh_ms": {:.2f}}})",
        loss_->machines, Ms(loss_->began, *loss_->fenced), Ms(*loss_->fenced, *loss_->first_taken),
        Ms(*loss_->fenced, *loss_->all_taken), Ms(*loss_->fenced, *loss_->all_run),
        loss_->takers.size(), most, sum.commits, sum.refused, sum.unknown, sum.weighs,
        static_cast<double>(sum.weigh_us) / 1000 /
            static_cast<double>(std::max<std::uint64_t>(sum.weighs, 1)),
        static_cast<double>(sum.longest_weigh_us) / 1000);
    loss_.reset();
    return true;
  }

  // ---- all of it

  void OnHeard(NodeId node, const std::vector<etcd::KeyEvent>& events) {
    for (const etcd::KeyEvent& event : events) {
      if (event.key_value.key == probe_.key) HearProbe(node);
      if (loss_ && node == nodes_.begin()->first) HearLoss(event);
    }
  }

  void SayMemory() const {
    constexpr int kCopies = 20;
    const std::int64_t before = ResidentKib();
    const std::vector<etcd::View> copies(kCopies, *Observer().view());
    Say(R"({{"rss_kib": {}, "view_kib": {}}})", before, (ResidentKib() - before) / kCopies);
  }

  SimNode& Observer() const { return *nodes_.begin()->second; }
  SimNode::Counts Sum() const {
    SimNode::Counts sum;
    for (const auto& [number, node] : nodes_) {
      sum.commits += node->counts.commits;
      sum.refused += node->counts.refused;
      sum.unknown += node->counts.unknown;
      sum.weighs += node->counts.weighs;
      sum.weigh_us += node->counts.weigh_us;
      sum.longest_weigh_us = std::max(sum.longest_weigh_us, node->counts.longest_weigh_us);
    }
    return sum;
  }

  EventLoop* const loop_;
  const SystemClock clock_;
  std::unique_ptr<etcd::Kv> admin_;
  SimWorld world_;
  std::map<NodeId, std::unique_ptr<SimNode>> nodes_;
  // One at a time, each when others had their turn: views are seen between.
  void WeighNext() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      auto next = nodes_.upper_bound(weighed_);
      if (next == nodes_.end()) next = nodes_.begin();
      weighed_ = next->first;
      if (next->second->WeighIfSeen()) return weigh_.Soon();
    }
  }

  NodeId weighed_ = 0;
  PacedTask weigh_{loop_, cluster::BootTime, [this] { WeighNext(); }};
  std::function<bool()> until_;
  Time began_;
  SimNode::Counts before_;
  std::uint32_t size_ = 0;
  mutable std::uint64_t written_ = 0;
  int writing_ = 0;
  std::vector<WishedVm> written_vms_;  // nobody knows of them yet
  Probe probe_;
  std::optional<Loss> loss_;
  Timer timer_;
  Timer probe_timer_;
};

int Main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::vector<std::string> endpoints;
  std::istringstream words(argv[1]);
  for (std::string one; std::getline(words, one, ',');) endpoints.push_back(one);
  auto loop = EventLoop::Create();
  if (!loop) return 1;
  ManyNodes nodes(loop->get(), endpoints, argv[2], static_cast<NodeId>(std::atoi(argv[3])));
  (*loop)->Run();
  return 0;
}

}  // namespace
}  // namespace gemel::daemon

int main(int argc, char** argv) { return gemel::daemon::Main(argc, argv); }
