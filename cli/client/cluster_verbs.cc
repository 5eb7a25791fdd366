// gemel cluster: who is in it, and who has which machine.
#include "base/clock.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/members_text.h"
#include "cluster/config/cluster_config.h"
#include "proto/gemel/v1/clusters.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel cluster status
  gemel cluster explain db

Nodes that take machines over from each other.

Usage: gemel cluster VERB [NAME] [ARGUMENT]...

Verbs:
  status        nodes, machines, and what somebody should look at
  explain       why a machine is where it is
  confirm-dead  says that you have seen that a lost node is off
  fence         test NODE: whether its fence agent answers
Of the machine they are typed on, as root:
  init     makes it the first of a cluster
  invite   prints a token with which another may join, once
  join     makes it a node of the cluster that the token is of
  witness  makes it the third vote, which runs no machines
  members  who has a vote, as etcd here sees it
  leave    takes it out again
  replace  removes a member that is lost, and invites another
  backup   what it keeps, to a file; restore begins anew with it
)";

std::string Seconds(const google::protobuf::Duration& age) {
  return fmt::format("{:.1f}s",
                     static_cast<double>(age.seconds()) + static_cast<double>(age.nanos()) / 1e9);
}

std::string HeadOf(const v1::ClusterStatus& status) {
  return fmt::format("cluster {}, as {} sees it: {}{}{}\n", status.cluster(),
                     LastPart(status.node()), status.has_session() ? "a member" : "no session",
                     status.trouble().empty() ? "" : ": ", status.trouble());
}

std::string FencersOf(const v1::ClusterNode& node) {
  std::string names;
  for (const std::string& name : node.fenced_by())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", LastPart(name));
  return names;
}

std::string NodesOf(const v1::ClusterStatus& status) {
  Table table({{"NODE"},
               {"STATE"},
               {"LAST BEAT"},
               {"SESSION"},
               {"MEMORY"},
               {"ADDRESS"},
               {"VERSION"},
               {"FENCED BY"}});
  for (const v1::ClusterNode& node : status.nodes()) {
    table.Add({LastPart(node.name()),
               node.drained()          ? "drained"
               : node.live()           ? "live"
               : node.off_by().empty() ? "gone"
                                       : fmt::format("off ({})", node.off_by()),
               node.has_beat_age() ? Seconds(node.beat_age()) : "", node.session(),
               RoughSize(node.memory_bytes()), node.address(), node.version(), FencersOf(node)});
  }
  return table.Text(false, ColourWanted());
}

std::string MachinesOf(const Session& session, const v1::ClusterStatus& status) {
  Table table({{"VM"}, {"OWNER"}, {"EPOCH"}, {"RECORD"}, {"WISH"}, {"WHY"}, {"FENCES"}});
  for (const v1::ClusterMachine& machine : status.machines()) {
    std::string fences;
    for (const std::string& fence : machine.fences())
      fences += (fences.empty() ? "" : ", ") + fence;
    table.Add({ShortName(session.project(), machine.name()), LastPart(machine.owner()),
               machine.epoch(), machine.record(), machine.wish(), machine.why(), fences});
  }
  return table.Text(false, ColourWanted());
}

Status ShowStatus(Words words) {
  Session session("cluster status");
  OptionParser parser(R"(Examples:
  gemel cluster status
  gemel cluster status -o json

The cluster on one screen, as the node that answers sees it.)");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::GetStatusRequest request;
  request.set_name("clusters/-");
  v1::ClusterStatus status;
  RETURN_IF_ERROR(session.Call("Clusters/GetStatus", request, &status));
  if (session.format() != Format::kTable && session.format() != Format::kWide)
    return session.ShowOne(status, status.cluster(), Table({}));
  std::string text = HeadOf(status) + "\n" + NodesOf(status);
  if (status.machines_size() > 0) text += "\n" + MachinesOf(session, status);
  // Typed on a node, as root: what forming knows belongs to the same screen.
  if (session.server().starts_with("unix:"))
    if (const auto members = DescribeMembers(std::string(cluster::kClusterConfigPath)))
      text += "\n" + *members;
  for (const std::string& alert : status.alerts()) text += fmt::format("\nALERT {}", alert);
  if (status.alerts_size() > 0) text += "\n";
  return Print(text);
}

Status Explain(Words words) {
  Session session("cluster explain");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel cluster explain db
  gemel cluster explain db -o json

Why a machine is where it is, and what led there.)");
  parser.AddOption("NAME", name, "which VM").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ExplainRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("vms", name));
  v1::Explanation why;
  RETURN_IF_ERROR(session.Call("Clusters/Explain", request, &why));
  if (session.format() != Format::kTable && session.format() != Format::kWide)
    return session.ShowOne(why, name, Table({}));
  const std::int64_t now = ClockNs(CLOCK_REALTIME) / 1'000'000'000;
  std::string text = why.text() + "\n";
  for (const v1::NodeObstacle& obstacle : why.obstacles())
    text += fmt::format("  not on {}: {}\n", obstacle.node(), obstacle.text());
  for (const v1::Decision& decision : why.decisions())
    text += fmt::format("  {} ago  {}\n", Ago(decision.time(), now), decision.text());
  return Print(text);
}

}  // namespace

Noun ClusterNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"status", ShowStatus},      {"explain", Explain},
      {"init", ClusterInit},       {"invite", ClusterInvite},
      {"join", ClusterJoin},       {"witness", ClusterWitness},
      {"members", ClusterMembers}, {"leave", ClusterLeave},
      {"replace", ClusterReplace}, {"backup", ClusterBackup},
      {"restore", ClusterRestore}, {"confirm-dead", ClusterConfirmDead},
      {"fence", ClusterFence}};
  return {"cluster", kHelp, kVerbs};
}

}  // namespace gemel::cli
