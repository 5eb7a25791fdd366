// gemel operation: work that goes on in the server.
#include "base/clock.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/operation_wait.h"
#include "proto/gemel/v1/operations.pb.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel operation list
  gemel operation wait op-41

Work that goes on in the server, whoever waits for it.

Usage: gemel operation VERB [NAME] [ARGUMENT]...

Verbs:
  list     newest first
  get      one of them
  wait     until it is done; its failure is this command's
  cancel   ask for its end
)";

Table OperationTable() {
  return Table({{"NAME"},
                {"TARGET"},
                {"VERB"},
                {"STATE"},
                {"AGE"},
                {"CALLER"},
                {"MESSAGE"},
                {"REQUEST", true}});
}

void AddOperation(const Session& session, const v1::Operation& operation, Table& table) {
  const v1::OperationMetadata& metadata = operation.metadata();
  const std::string state =
      !operation.done() ? fmt::format("{} {} %", metadata.stage(), metadata.progress_percent())
      : operation.has_error() ? "failed"
                              : "done";
  table.Add({ShortName(session.project(), operation.name()),
             ShortName(session.project(), metadata.target()), metadata.verb(), state,
             Ago(metadata.create_time(), ClockNs(CLOCK_REALTIME) / 1'000'000'000),
             metadata.caller(), operation.error().message(), metadata.request_id()});
}

Status ShowOperation(const Session& session, const v1::Operation& operation) {
  Table table = OperationTable();
  AddOperation(session, operation, table);
  return session.ShowOne(operation, ShortName(session.project(), operation.name()), table);
}

Status List(Words words) {
  Session session("operation list");
  std::string filter;
  OptionParser parser(R"(Examples:
  gemel operation list
  gemel operation list --filter 'done = false'

Newest first.)");
  parser.AddOption("--filter", filter, "which: done, metadata.target, metadata.verb");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListOperationsRequest request;
  request.set_parent(session.parent());
  request.set_filter(filter);
  request.set_page_size(500);
  v1::ListOperationsResponse all;
  do {
    v1::ListOperationsResponse page;
    RETURN_IF_ERROR(session.Call("Operations/List", request, &page));
    all.mutable_operations()->MergeFrom(page.operations());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Table table = OperationTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Operation& operation : all.operations()) {
    AddOperation(session, operation, table);
    messages.push_back(&operation);
    names.push_back(ShortName(session.project(), operation.name()));
  }
  return session.Show(messages, names, table);
}

Result<v1::Operation> GetOperation(Session& session, const std::string& name) {
  v1::GetOperationRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("operations", name));
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Operations/Get", request, &operation));
  return operation;
}

Status Get(Words words) {
  Session session("operation get");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel operation get op-41
  gemel operation get op-41 -o json

One of them.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const v1::Operation operation, GetOperation(session, name));
  return ShowOperation(session, operation);
}

Status Wait(Words words) {
  Session session("operation wait");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel operation wait op-41
  gemel operation wait op-41 --timeout 1m

Until it is done. Ends as the work ended; with 124 at the timeout.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const v1::Operation operation, GetOperation(session, name));
  RETURN_IF_ERROR(WaitForOperation(session, operation));
  ASSIGN_OR_RETURN(const v1::Operation done, GetOperation(session, name));
  return ShowOperation(session, done);
}

Status Cancel(Words words) {
  Session session("operation cancel");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel operation cancel op-41
  gemel operation cancel op-41 -o json

Asks for its end; one that is past the point of return ends as it would have.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  v1::CancelOperationRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("operations", name));
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Operations/Cancel", request, &operation));
  return ShowOperation(session, operation);
}

}  // namespace

Noun OperationNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"list", List}, {"get", Get}, {"wait", Wait}, {"cancel", Cancel}};
  return {"operation", kHelp, kVerbs};
}

}  // namespace gemel::cli
