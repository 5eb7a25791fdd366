// gemel cluster fence test: whether a node's fence agent answers.
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "proto/gemel/v1/clusters.pb.h"

namespace gemel::cli {
namespace {

// An agent has its own time-out, of an hour at most.
constexpr std::int64_t kWaitMs = 3'660'000;

}  // namespace

Status ClusterFence(Words words) {
  Session session("cluster fence");
  std::string verb;
  std::string name;
  OptionParser parser(R"(Examples:
  gemel cluster fence test b
  gemel cluster fence test b --server a.example:7443

Has the fence agent that the node which answers has for another one say whether that is on or off. Nothing is
switched.)");
  parser.AddOption("VERB", verb, "test").Required();
  parser.AddOption("NODE", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  if (verb != "test") return InvalidArgument("cluster fence: {}: unknown; there is test", verb);
  v1::TestFenceRequest request;
  request.set_name(name.starts_with("nodes/") ? name : "nodes/" + name);
  v1::FenceTest test;
  RETURN_IF_ERROR(session.Call("Clusters/TestFence", request, &test, kWaitMs));
  if (test.power() == "unknown")
    return MakeError(Code::kUnavailable,
                     fmt::format("{}: the fence agent of {} does not know: {}",
                                 LastPart(request.name()), LastPart(test.node()), test.message()));
  return Print(fmt::format("{}: {}, says the fence agent of {}\n", LastPart(request.name()),
                           test.power(), LastPart(test.node())));
}

}  // namespace gemel::cli
