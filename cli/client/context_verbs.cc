// gemel context: which server is meant.
#include <filesystem>

#include "cli/arguments.h"
#include "cli/client/commands.h"
#include "cli/report.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel context add rack7 --server node-a:7443 --credentials ~/alice
  gemel context use rack7

Which gemeld is meant. "local" is the one on this host.

Usage: gemel context VERB [NAME] [ARGUMENT]...

Verbs:
  list     all of them; the current one has a star
  add      one more; use makes it the current one; remove forgets it
)";

std::unexpected<Error> NoSuch(const std::string& name) {
  return std::unexpected(
      WithHint({Code::kNotFound, fmt::format("context: {}: there is none of that name", name)},
               "see: gemel context list"));
}

// The one word that most verbs take. False: help was shown.
Result<bool> TakeName(OptionParser& parser, Session& session, Words words, std::string& name) {
  parser.AddOption("NAME", name, "which").Required();
  return session.Begin(parser, Verb::kOther, words);
}

Status List(Words words) {
  Session session("context list");
  OptionParser parser(R"(Examples:
  gemel context list
  gemel context list -o name

All contexts.)");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const Contexts contexts, LoadContexts());
  Table table({{" "}, {"NAME"}, {"SERVER"}, {"PROJECT"}, {"CREDENTIALS"}});
  std::string names;
  for (const auto& [name, context] : contexts.all) {
    table.Add({name == contexts.current ? "*" : " ", name, context.server, context.project,
               context.credentials});
    names += name + "\n";
  }
  if (session.format() == Format::kName) return Print(names);
  return Print(table.Text(true, false, session.wants_title()));
}

Status Add(Words words) {
  Session session("context add");
  std::string name;
  Context context;
  std::string server;
  std::string credentials;
  std::string project = "default";
  bool use = false;
  OptionParser parser(R"(Examples:
  gemel context add rack7 --server node-a:7443 --credentials ~/alice
  gemel context add rack7 --server node-a:7443,node-b:7443 --credentials ~/alice
  gemel context add test --server unix:/tmp/gemel/api.sock --project test --use

One more server, or another way to call the same one; an existing one is replaced.)");
  parser.AddOption("NAME", name, "what to call it").Required();
  parser
      .AddOption("--server", server,
                 "HOST:PORT or unix:/PATH; several of a cluster with commas between")
      .Value("SERVER")
      .Required();
  parser.AddOption("--credentials", credentials, "folder with cert.pem, key.pem, ca.pem")
      .Value("FOLDER");
  parser.AddOption("--project,-p", project, "whose VMs are meant").Default("default");
  parser.AddFlag("--use", use, "make it the current one");
  ASSIGN_OR_RETURN(const auto help, parser.Parse("gemel context add", words));
  if (help) return Print(*help);
  std::error_code error;
  if (!credentials.empty()) credentials = std::filesystem::absolute(credentials, error).string();
  context = {server, credentials, project};
  RETURN_IF_ERROR(ValidateContext(name, context));
  for (const char* file : {"cert.pem", "key.pem", "ca.pem"}) {
    if (!credentials.empty() && !std::filesystem::exists(credentials + "/" + file, error))
      return InvalidArgument("credentials: {}/{}: there is no such file", credentials, file);
  }
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts());
  contexts.all[name] = context;
  if (use) contexts.current = name;
  RETURN_IF_ERROR(SaveContexts(contexts));
  return Print(fmt::format("{}: {}{}\n", name, context.server, use ? ", current" : ""));
}

Status Use(Words words) {
  Session session("context use");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel context use rack7
  gemel context use local

Makes it the current one.)");
  ASSIGN_OR_RETURN(const bool go_on, TakeName(parser, session, words, name));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts());
  if (!contexts.all.contains(name)) return NoSuch(name);
  contexts.current = name;
  RETURN_IF_ERROR(SaveContexts(contexts));
  return Print(fmt::format("{}: current\n", name));
}

Status Remove(Words words) {
  Session session("context remove");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel context remove rack7
  gemel context remove test

Forgets it; its credentials' files stay.)");
  ASSIGN_OR_RETURN(const bool go_on, TakeName(parser, session, words, name));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts());
  if (name == kLocalContext) return InvalidArgument("context: {}: is always there", name);
  if (contexts.all.erase(name) == 0) return NoSuch(name);
  if (contexts.current == name) contexts.current = kLocalContext;
  RETURN_IF_ERROR(SaveContexts(contexts));
  return Print(fmt::format("{}: removed; current is {}\n", name, contexts.current));
}

}  // namespace

Noun ContextNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"list", List}, {"add", Add}, {"use", Use}, {"remove", Remove}};
  return {"context", kHelp, kVerbs};
}

}  // namespace gemel::cli
