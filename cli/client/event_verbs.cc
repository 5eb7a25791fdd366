// gemel event: what happened, and what happens.
#include <time.h>

#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/event_stream.h"
#include "proto/gemel/v1/events.pb.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel event list
  gemel event watch -o json

What happened, and what happens.

Usage: gemel event VERB [ARGUMENT]...

Verbs:
  list     what is kept, oldest first
  watch    as it comes; none is missed if the server restarts
)";

Table EventTable() {
  return Table({{"TIME"},
                {"TYPE"},
                {"RESOURCE"},
                {"REASON"},
                {"MESSAGE"},
                {"CALLER", true},
                {"REQUEST", true},
                {"TOKEN", true}});
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  const time_t seconds = time.seconds();
  tm local{};
  localtime_r(&seconds, &local);
  char text[40];
  return {text, strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local)};
}

void AddEvent(const Session& session, const v1::Event& event, Table& table) {
  table.Add({TimeText(event.event_time()),
             EnumWord(v1::EventType_Name(event.type()), "EVENT_TYPE_"),
             ShortName(session.project(), event.resource()), event.reason(), event.message(),
             event.caller(), event.request_id(), event.resume_token()});
}

Status ShowEvent(const Session& session, const v1::Event& event) {
  if (session.format() == Format::kJson) return Print(ToJson(event));
  if (session.format() == Format::kYaml) {
    RETURN_IF_ERROR(Print("---\n"));
    return session.PrintYaml(event);
  }
  if (session.format() == Format::kName) return Print(event.resume_token() + "\n");
  Table table = EventTable();
  AddEvent(session, event, table);
  return Print(table.Text(session.format() == Format::kWide, ColourWanted(), false));
}

Status List(Words words) {
  Session session("event list");
  std::string filter;
  OptionParser parser(R"(Examples:
  gemel event list
  gemel event list --filter 'type = GUEST_PANIC' -o wide

What is kept, oldest first.)");
  parser.AddOption("--filter", filter, "which: type, resource, uid, reason");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListEventsRequest request;
  request.set_parent(session.parent());
  request.set_filter(filter);
  request.set_page_size(1000);
  v1::ListEventsResponse all;
  do {
    v1::ListEventsResponse page;
    RETURN_IF_ERROR(session.Call("Events/List", request, &page));
    all.mutable_events()->MergeFrom(page.events());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Table table = EventTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Event& event : all.events()) {
    AddEvent(session, event, table);
    messages.push_back(&event);
    names.push_back(event.resume_token());
  }
  RETURN_IF_ERROR(session.Show(messages, names, table));
  if (!session.watch()) return {};
  ASSIGN_OR_RETURN(std::string token, TokenOfNow(session));
  if (!names.empty()) token = names.back();
  return FollowEvents(
      session, token, [&session](const v1::Event& event) { return ShowEvent(session, event); },
      filter);
}

Status Watch(Words words) {
  Session session("event watch");
  std::string filter;
  std::string token;
  OptionParser parser(R"(Examples:
  gemel event watch
  gemel event watch --from "$token" -o json

As they come, from now on or from after a token (-o wide shows it).)");
  parser.AddOption("--filter", filter, "which: type, resource, uid, reason");
  parser.AddOption("--from", token, "the token of the last event that is known").Value("TOKEN");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  if (token.empty()) {
    ASSIGN_OR_RETURN(token, TokenOfNow(session));
  }
  if (session.format() == Format::kTable || session.format() == Format::kWide)
    RETURN_IF_ERROR(Print(EventTable().Text(session.format() == Format::kWide, false)));
  return FollowEvents(
      session, token, [&session](const v1::Event& event) { return ShowEvent(session, event); },
      filter);
}

}  // namespace

Noun EventNoun() {
  static constexpr VerbEntry kVerbs[] = {{"list", List}, {"watch", Watch}};
  return {"event", kHelp, kVerbs};
}

}  // namespace gemel::cli
