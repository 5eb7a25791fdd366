// gemel node: the hosts.
#include "base/clock.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "proto/gemel/v1/clusters.pb.h"
#include "proto/gemel/v1/nodes.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel node list
  gemel node get

The hosts: what they have, what is left, and how they are.

Usage: gemel node VERB [NAME] [ARGUMENT]...

Verbs:
  list    all of them
  get     one; without a name the one that answers
  drain   of a cluster: its machines go to others, and it no longer counts
  resume  it is one of the cluster's again
)";

std::string Cpus(std::uint32_t millis) {
  return millis % 1000 == 0 ? fmt::format("{}", millis / 1000)
                            : fmt::format("{:.1f}", static_cast<double>(millis) / 1000);
}

Table NodeTable() {
  return Table({{"NAME"},
                {"STATE"},
                {"VMS"},
                {"CPUS"},
                {"CPUS LEFT"},
                {"MEMORY"},
                {"MEMORY LEFT"},
                {"VERSION"},
                {"UPTIME", true},
                {"KERNEL", true}});
}

void AddNode(const v1::Node& node, Table& table) {
  table.Add({LastPart(node.name()), EnumWord(v1::NodeHealth_Name(node.health()), "NODE_HEALTH_"),
             fmt::format("{}/{}", node.running_vms(), node.defined_vms()),
             Cpus(node.capacity().cpu_millis()), Cpus(node.allocatable().cpu_millis()),
             RoughSize(node.capacity().memory_bytes()),
             RoughSize(node.allocatable().memory_bytes()), node.version(),
             Ago(node.start_time(), ClockNs(CLOCK_REALTIME) / 1'000'000'000), node.kernel()});
}

// What is not well, and what the node lacks.
std::string Remarks(const v1::Node& node) {
  std::string text;
  for (const v1::HealthCondition& condition : node.conditions()) {
    if (condition.health() > v1::NODE_HEALTH_OK)
      text += fmt::format("  {}: {}\n", condition.condition(), condition.message());
  }
  for (const v1::Capability& capability : node.capabilities()) {
    text += fmt::format("  {} {}{}{}\n", capability.available() ? "has" : "lacks",
                        capability.capability(), capability.message().empty() ? "" : ": ",
                        capability.message());
  }
  return text;
}

Status List(Words words) {
  Session session("node list");
  OptionParser parser(R"(Examples:
  gemel node list
  gemel node list -o wide

All hosts.)");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListNodesResponse nodes;
  RETURN_IF_ERROR(session.Call("Nodes/List", v1::ListNodesRequest(), &nodes));
  Table table = NodeTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Node& node : nodes.nodes()) {
    AddNode(node, table);
    messages.push_back(&node);
    names.push_back(LastPart(node.name()));
  }
  return session.Show(messages, names, table);
}

Status Get(Words words) {
  Session session("node get");
  std::string name = "-";
  OptionParser parser(R"(Examples:
  gemel node get
  gemel node get node-a -o json

One host, with what it can do and what is not well.)");
  parser.AddOption("NAME", name, "which; else the one that answers");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::GetNodeRequest request;
  request.set_name(name.starts_with("nodes/") ? name : "nodes/" + name);
  v1::Node node;
  RETURN_IF_ERROR(session.Call("Nodes/Get", request, &node));
  Table table = NodeTable();
  AddNode(node, table);
  RETURN_IF_ERROR(session.ShowOne(node, LastPart(node.name()), table));
  if (session.format() != Format::kTable && session.format() != Format::kWide) return {};
  return Print(Remarks(node));
}

template <class Request>
Status SetDrained(Session& session, OptionParser& parser, Words words, std::string_view method,
                  std::string_view done) {
  std::string name;
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  Request request;
  request.set_name(name.starts_with("nodes/") ? name : "nodes/" + name);
  request.set_request_id(NewRequestId());
  v1::ClusterNode node;
  RETURN_IF_ERROR(session.Call(method, request, &node));
  return Print(fmt::format("{}: {}\n", LastPart(node.name()), done));
}

Status Drain(Words words) {
  Session session("node drain");
  OptionParser parser(R"(Examples:
  gemel node drain b
  gemel cluster status

Of a cluster: its machines go to others, nothing new comes, and it no longer counts.)");
  return SetDrained<v1::DrainNodeRequest>(session, parser, words, "Clusters/DrainNode",
                                          "drained; gemel cluster status shows what is left there");
}

Status Resume(Words words) {
  Session session("node resume");
  OptionParser parser(R"(Examples:
  gemel node resume b
  gemel cluster status

A node that was drained is one of its cluster's again.)");
  return SetDrained<v1::UndrainNodeRequest>(session, parser, words, "Clusters/UndrainNode",
                                            "resumed");
}

}  // namespace

Noun NodeNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"list", List}, {"get", Get}, {"drain", Drain}, {"resume", Resume}};
  return {"node", kHelp, kVerbs};
}

}  // namespace gemel::cli
