#include "cli/command_pki.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/clock.h"
#include "base/json_text.h"
#include "cli/arguments.h"
#include "cli/exit_status.h"
#include "cli/report.h"
#include "pki/authority.h"
#include "pki/certificate.h"
#include "vmm/config/suggest.h"

namespace gemel::cli {
namespace {

using Words = std::span<const std::string>;

constexpr char kHelp[] =
    R"(Examples:
  gemel pki init
  gemel pki issue alice

A certificate authority for gemeld and those who call it over the network.

Usage: gemel pki VERB [ARGUMENT]...

Verbs:
  init     make an authority, this host's server certificate and one for an admin
  issue    a certificate for a person, a program, or another server
  revoke   take certificates back; a running gemeld heeds it with the next call
  list     what was issued, until when it counts, and what was revoked

gemel pki VERB --help says more. Exit status: 0 done, 1 failed, 2 wrong input.
)";

constexpr char kInitHelp[] =
    R"(Examples:
  gemel pki init
  gemel pki init --address node-a.example.org --address 192.0.2.7

Makes a certificate authority, the certificate that gemeld on this host presents, and one for the
client "admin" (who may do nothing until: gemel access grant admin cert:admin '*').
)";

constexpr char kIssueHelp[] =
    R"(Examples:
  gemel pki issue alice
  gemel pki issue node-b --server --address node-b.example.org --address 192.0.2.8

Makes a key and a certificate, and a folder with all that its holder needs: give it to them by a way
that nobody else reads.
)";

constexpr char kRevokeHelp[] =
    R"(Examples:
  gemel pki revoke alice
  gemel pki revoke 5f0c3a1b77e0410a9d2f4c6e8a0b1c2d

Takes back every valid certificate of a name, or one by its serial number. A gemeld that reads this
folder's crl.pem heeds it with the next call, and in an open stream with the next event; copy crl.pem
to other servers.
)";

constexpr char kListHelp[] =
    R"(Examples:
  gemel pki list
  gemel pki list -o json

What was issued, until when it counts, and what was revoked.
)";

std::int64_t Now() { return ClockNs(CLOCK_REALTIME) / 1'000'000'000; }

std::string DefaultFolder() {
  const char* const config = std::getenv("XDG_CONFIG_HOME");
  const char* const home = std::getenv("HOME");
  if (geteuid() == 0) return "/etc/gemel/pki";
  if (config != nullptr && *config == '/') return fmt::format("{}/gemel/pki", config);
  return fmt::format("{}/.config/gemel/pki", home == nullptr ? "" : home);
}

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data()
                                                                           : "localhost";
}

int Fail(const Error& error) {
  PrintError(error);
  const bool input = error.code == Code::kInvalidArgument || error.code == Code::kAlreadyExists ||
                     error.code == Code::kNotFound;
  return input ? kWrongInput : kFailed;
}

// What every verb has: its folder and its words. The status to end with if there is one.
std::optional<int> Parse(OptionParser& parser, const std::string& verb, std::string& folder,
                         Words words) {
  parser.AddOption("--dir", folder, "the authority's folder").Value("FOLDER");
  const auto help = parser.Parse("gemel pki " + verb, words);
  if (!help) return Fail(help.error());
  if (*help) {
    std::fputs((*help)->c_str(), stdout);
    return kDone;
  }
  return std::nullopt;
}

Result<pki::Authority> OpenAuthority(const std::string& folder) {
  auto authority = pki::Authority::Open(folder);
  if (!authority && authority.error().code == Code::kNotFound) {
    return std::unexpected(
        WithHint(std::move(authority).error(), "make one: gemel pki init --dir " + folder));
  }
  return authority;
}

int Init(Words words) {
  pki::InitOptions options{"", {}, "admin", 397};
  std::string folder = DefaultFolder();
  OptionParser parser(kInitHelp);
  parser.AddOption("--name", options.name, "the authority's name").Value("NAME");
  parser
      .AddOption("--address", options.addresses,
                 "what clients may call this host's gemeld, beside its name and localhost")
      .Value("HOST|IP")
      .OneValueEach();
  parser.AddOption("--client", options.first_client, "who gets the first client certificate")
      .Value("NAME")
      .Default("admin");
  parser.AddOption("--days", options.days, "how long certificates count").Default("397");
  if (const auto status = Parse(parser, "init", folder, words)) return *status;
  std::vector<std::string> addresses = {HostName()};
  for (const std::string& more : options.addresses) addresses.push_back(more);
  for (const char* local : {"localhost", "127.0.0.1", "::1"}) addresses.emplace_back(local);
  options.addresses = std::move(addresses);
  if (options.name.empty()) options.name = "gemel authority of " + HostName();
  if (auto made = pki::Authority::Init(folder, options, Now()); !made) {
    Error error = std::move(made).error();
    if (error.code == Code::kAlreadyExists)
      error = WithHint(std::move(error), "see what it holds: gemel pki list --dir " + folder);
    return Fail(error);
  }
  fmt::print(
      "made an authority in {0}\n"
      "  server   gemeld --listen 0.0.0.0:7443 --pki-dir {0}\n"
      "  client   {1}: give {0}/issued/{1} to them, and a role:\n"
      "           gemel access grant admin cert:{1} '*'\n"
      "           gemel context add {2} --server {2}:7443 --credentials {0}/issued/{1}\n",
      folder, options.first_client, options.addresses[0]);
  return kDone;
}

int Issue(Words words) {
  pki::IssueOptions options;
  std::string folder = DefaultFolder();
  bool server = false;
  OptionParser parser(kIssueHelp);
  parser.AddOption("NAME", options.name, "whom it is for; bindings say cert:NAME").Required();
  parser.AddFlag("--server", server, "for a gemeld, not for one who calls it");
  parser.AddOption("--address", options.addresses, "what clients may call that server")
      .Value("HOST|IP")
      .OneValueEach();
  parser.AddOption("--days", options.days, "how long it counts").Default("397");
  parser.AddFlag("--renew", options.renew, "even if there is a valid one, which stays valid");
  parser.AddOption("--out", options.folder, "where to put it, instead of issued/NAME")
      .Value("FOLDER");
  if (const auto status = Parse(parser, "issue", folder, words)) return *status;
  if (!server && !options.addresses.empty())
    return Fail({Code::kInvalidArgument, "address: only a server has one (--server)"});
  options.purpose = server ? pki::Purpose::kServer : pki::Purpose::kClient;
  if (server && options.addresses.empty()) options.addresses = {options.name};
  auto authority = OpenAuthority(folder);
  if (!authority) return Fail(authority.error());
  auto issued = authority->Issue(options, Now());
  if (!issued) {
    Error error = std::move(issued).error();
    if (error.code == Code::kAlreadyExists)
      error = WithHint(std::move(error),
                       "another one: --renew     take it back: gemel pki revoke " + options.name);
    return Fail(error);
  }
  fmt::print("{}  {}  until {}  {}\n", issued->certificate.name, issued->certificate.serial,
             pki::DayText(issued->certificate.not_after), issued->folder);
  return kDone;
}

int Revoke(Words words) {
  std::string folder = DefaultFolder();
  std::string which;
  OptionParser parser(kRevokeHelp);
  parser.AddOption("NAME|SERIAL", which, "whose, or which").Required();
  if (const auto status = Parse(parser, "revoke", folder, words)) return *status;
  auto authority = OpenAuthority(folder);
  if (!authority) return Fail(authority.error());
  const auto revoked = authority->Revoke(which, Now());
  if (!revoked) {
    return Fail(revoked.error().code == Code::kNotFound
                    ? WithHint(revoked.error(), "see: gemel pki list")
                    : revoked.error());
  }
  for (const pki::IssuedCertificate& entry : *revoked)
    fmt::print("{}  {}  revoked\n", entry.name, entry.serial);
  if (revoked->empty()) fmt::print("{}: nothing of it was valid any more\n", which);
  return kDone;
}

std::string StateOf(const pki::IssuedCertificate& entry, std::int64_t now) {
  if (entry.revoked) return "revoked " + pki::DayText(*entry.revoked);
  return now > entry.not_after ? "expired" : "valid";
}

std::string ListText(const std::vector<pki::IssuedCertificate>& issued) {
  std::size_t width = 4;
  for (const auto& entry : issued) width = std::max(width, entry.name.size());
  std::string text =
      fmt::format("{:{}}  KIND    UNTIL       STATE               SERIAL\n", "NAME", width);
  for (const auto& entry : issued) {
    text += fmt::format("{:{}}  {:6}  {:10}  {:18}  {}\n", entry.name, width,
                        pki::PurposeName(entry.purpose), pki::DayText(entry.not_after),
                        StateOf(entry, Now()), entry.serial);
  }
  return text;
}

std::string ListJson(const std::vector<pki::IssuedCertificate>& issued) {
  std::string text;
  for (const auto& entry : issued) {
    text += fmt::format(
        R"({}{{"name": {}, "kind": "{}", "serial": "{}", "not_after": "{}", "state": {}}})",
        text.empty() ? "\n  " : ",\n  ", JsonQuoted(entry.name), pki::PurposeName(entry.purpose),
        entry.serial, pki::DayText(entry.not_after), JsonQuoted(StateOf(entry, Now())));
  }
  return fmt::format("[{}\n]\n", text);
}

int List(Words words) {
  std::string folder = DefaultFolder();
  std::string output = "table";
  OptionParser parser(kListHelp);
  parser.AddOption("--output,-o", output, "table or json").Default("table");
  if (const auto status = Parse(parser, "list", folder, words)) return *status;
  if (output != "table" && output != "json")
    return Fail(
        {Code::kInvalidArgument, fmt::format("output: {}: unknown; there is table, json", output)});
  const auto authority = OpenAuthority(folder);
  if (!authority) return Fail(authority.error());
  const auto& issued = authority->issued();
  std::fputs((output == "json" ? ListJson(issued) : ListText(issued)).c_str(), stdout);
  return kDone;
}

int UnknownVerb(const std::string& verb) {
  static constexpr std::array<std::string_view, 4> kVerbs = {"init", "issue", "revoke", "list"};
  const std::string_view nearest = NearestWord(verb, kVerbs);
  Error error{Code::kInvalidArgument, fmt::format("pki {}: unknown command", verb)};
  if (!nearest.empty()) error.message += fmt::format("; did you mean pki {}?", nearest);
  return Fail(WithHint(std::move(error), "see: gemel pki --help"));
}

}  // namespace

int PkiCommand(Words words) {
  if (words.empty()) {
    return Fail(WithHint({Code::kInvalidArgument, "pki: a verb is missing"}, "gemel pki --help"));
  }
  const std::string& verb = words[0];
  if (verb == "--help" || verb == "-h" || verb == "help") {
    std::fputs(kHelp, stdout);
    return kDone;
  }
  if (verb == "init") return Init(words.subspan(1));
  if (verb == "issue") return Issue(words.subspan(1));
  if (verb == "revoke") return Revoke(words.subspan(1));
  if (verb == "list") return List(words.subspan(1));
  return UnknownVerb(verb);
}

}  // namespace gemel::cli
