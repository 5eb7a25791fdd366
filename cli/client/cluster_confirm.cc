// gemel cluster confirm-dead: somebody has seen that a node is off.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/log.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/node_word.h"
#include "cli/report.h"
#include "proto/gemel/v1/clusters.pb.h"

namespace gemel::cli {
namespace {

// What this would let start elsewhere.
std::vector<std::string> MachinesOf(const Session& session, const v1::ClusterStatus& status,
                                    const v1::ClusterNode& node) {
  std::vector<std::string> names;
  for (const v1::ClusterMachine& machine : status.machines()) {
    const bool waits =
        std::any_of(machine.fences().begin(), machine.fences().end(),
                    [](const std::string& fence) { return fence.starts_with("off ("); });
    if (waits && machine.owner() == node.name())
      names.push_back(ShortName(session.project(), machine.name()));
  }
  return names;
}

Result<v1::ClusterNode> FindNode(const v1::ClusterStatus& status, const std::string& name) {
  std::vector<std::string> known;
  for (const v1::ClusterNode& node : status.nodes()) {
    if (node.name() == name) return node;
    known.push_back(LastPart(node.name()));
  }
  return MakeError(Code::kNotFound, fmt::format("{}: there is no such node; there is {}",
                                                LastPart(name), fmt::join(known, ", ")));
}

Status AskForName(const std::string& node, const std::string& loss) {
  const std::string flag = fmt::format("if you have seen that it is: --yes-{}-is-off", node);
  if (!OnTerminal(STDIN_FILENO) || !OnTerminal(STDERR_FILENO))
    return std::unexpected(WithHint({Code::kInvalidArgument, loss}, flag));
  WriteUnlessFull(
      STDERR_FILENO,
      fmt::format("{}\nType the name of the node that you have seen to be off: ", loss));
  std::array<char, 128> answer{};
  std::string typed;
  if (std::fgets(answer.data(), answer.size(), stdin) != nullptr) typed = answer.data();
  while (!typed.empty() && (typed.back() == '\n' || typed.back() == '\r')) typed.pop_back();
  if (typed == node) return {};
  return MakeError(Code::kCancelled, "nothing was done");
}

// A node that lives needs no question: the server refuses, and says what to do instead.
Status Vouch(const Session& session, const v1::ClusterStatus& status, const v1::ClusterNode& node,
             const std::vector<std::string>& flags) {
  const std::string name(LastPart(node.name()));
  ASSIGN_OR_RETURN(const bool said, SaysOff(flags, name));
  if (said || node.live()) return {};
  const std::vector<std::string> machines = MachinesOf(session, status, node);
  return AskForName(
      name, fmt::format(
                "{} was lost in session {}. If it runs all the same, it may write to the "
                "disks of {}, and destroy what is on them",
                name, node.session(),
                machines.empty() ? "its machines" : fmt::format("{}", fmt::join(machines, ", "))));
}

}  // namespace

Status ClusterConfirmDead(Words words) {
  Session session("cluster confirm-dead");
  std::string name;
  v1::ConfirmNodeDeadRequest request;
  OptionParser parser(R"(Examples:
  gemel cluster confirm-dead b --reason "pulled both power cords"
  gemel cluster confirm-dead b --reason "no light, no fan" --yes-b-is-off

Says that you have seen that a lost node is off. Machines whose disk refuses nobody are then started
elsewhere; if the node runs all the same, it may destroy what is on their disks. It is kept with your name,
asked for on a terminal, and void as soon as the node is back.)");
  parser.AddOption("NODE", name, "which").Required();
  parser.AddOption("--reason", *request.mutable_reason(), "how you know").Required();
  const std::vector<std::string> flags = OffFlags(words);
  bool said = false;  // as `flags` says, with the name
  parser.AddFlag(flags.empty() ? "--yes-NODE-is-off" : flags.front(), said,
                 "with the node's name: says so without a question");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  request.set_name(name.starts_with("nodes/") ? name : "nodes/" + name);
  v1::GetStatusRequest ask;
  ask.set_name("clusters/-");
  v1::ClusterStatus status;
  RETURN_IF_ERROR(session.Call("Clusters/GetStatus", ask, &status));
  ASSIGN_OR_RETURN(v1::ClusterNode node, FindNode(status, request.name()));
  RETURN_IF_ERROR(Vouch(session, status, node, flags));
  request.set_session(node.session());
  request.set_request_id(NewRequestId());
  RETURN_IF_ERROR(session.Call("Clusters/ConfirmNodeDead", request, &node));
  return Print(fmt::format("{}: off, as you say; its machines may be started elsewhere\n",
                           LastPart(node.name())));
}

}  // namespace gemel::cli
