// Where machines should run and when: what an operator asks for, weighed. Pure; every node that sees
// the same comes to the same answer. It only ever asks: whether a machine may start is for VmAgent.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "cluster/records.h"
#include "cluster/timing.h"

namespace gemel::cluster {

struct VmPolicy {
  std::uint32_t priority = 0;       // groups: all of 0 run, or cannot, before any of 1 begins
  NodeId preferred = 0;             // 0: none
  bool fail_back = false;           // go back to the preferred node when that can have it
  std::uint32_t apart = 0;          // machines of one such group do not share a node; 0: none
  Time start_delay{0};              // after the machine before it, in its own group
  std::uint32_t most_restarts = 3;  // within `window`; one more stays down
  Time window{600'000'000};
  bool stay_down = false;  // a failure ends it
};

struct VmStatus {
  std::uint32_t vm = 0;
  VmPolicy policy;
  std::uint64_t memory = 0;
  NodeId owner = 0;            // who has it by its record; 0: nobody, or one whose session is over
  bool running = false;        // its guest runs there
  bool arriving = false;       // its owner took it while others were, and are, still to be taken
  bool failed = false;         // it was lost or ended by itself; else it is being started by wish
  std::vector<Time> restarts;  // moments, in the clock of whoever asks
  std::vector<NodeId> barred{};  // nodes that lack what it needs, such as a network
};

struct NodeStatus {
  NodeId node = 0;
  bool usable = false;       // its session lives, it is not drained, and it has the storage
  std::uint64_t memory = 0;  // what machines may have together
};

struct Placement {
  enum class Why : std::uint8_t {
    kStays,          // where it is
    kStart,          // on `node`
    kFailBack,       // from its owner to `node`
    kWaitsForGroup,  // an earlier group is not done
    kWaitsForDelay,
    kStaysDown,  // the operator said so
    kTooManyRestarts,
    kNoCapacity,
    kApart,      // each node that could have it has another of its group
    kNoNetwork,  // each usable node lacks what it needs
    kPaused,     // somebody asked for that: it stays where it is, and is started nowhere
  };
  std::uint32_t vm = 0;
  NodeId node = 0;
  Why why = Why::kStays;
};

// One answer for each machine, in the order of their groups and then of their numbers. `last_start` is
// when the latest machine was started (kNever: none was).
//
// Each machine that has no owner goes to its preferred node, else to the one with the most room, else to the
// lowest number: so the machines of a lost node are spread over all others, and each of those takes its own
// part. What has been done of it already changes nothing of the rest: of machines that are `arriving`, room
// is chosen as if they had not begun to, until their turn comes. Nodes that have seen more or less of a
// take-over still agree on who takes what is left.
std::vector<Placement> Place(Time now, Time last_start, std::span<const NodeStatus> nodes,
                             std::span<const VmStatus> vms);

// Whether, if any one node is lost, the others together and each machine singly still fit: capacity
// kept free. Machines that are not to be restarted do not count.
bool SurvivesLossOfAnyNode(std::span<const NodeStatus> nodes, std::span<const VmStatus> vms);

}  // namespace gemel::cluster
