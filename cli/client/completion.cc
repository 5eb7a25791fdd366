// gemel completion SHELL, and the words that its scripts ask for.
//
// The scripts call `gemel __complete WORD...` with the words typed so far, the last one unfinished
// (and maybe empty), and get a line for each word that fits. VM and disk names are the server's.
#include <algorithm>
#include <cstdio>

#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/nouns.h"
#include "cli/report.h"
#include "proto/gemel/v1/disks.pb.h"
#include "proto/gemel/v1/networks.pb.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::cli {
namespace {

constexpr char kBash[] = R"(# bash completion of gemel: source <(gemel completion bash)
_gemel() {
  local IFS=$'\n'
  COMPREPLY=($(gemel __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _gemel gemel
)";

constexpr char kZsh[] = R"(#compdef gemel
# zsh completion of gemel: source <(gemel completion zsh)
_gemel() {
  local -a found
  found=("${(@f)$(gemel __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
if [[ "${funcstack[1]}" = "_gemel" ]]; then _gemel "$@"; else compdef _gemel gemel; fi
)";

constexpr char kFish[] = R"(# fish completion of gemel: gemel completion fish | source
function __gemel_complete
  set -l words (commandline -opc)
  gemel __complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c gemel -f -a '(__gemel_complete)'
)";

constexpr std::string_view kOwnVerbs[] = {"run", "host", "pki", "version", "help", "completion"};
constexpr std::string_view kShared[] = {"--output",  "--project",     "--context", "--server",
                                        "--timeout", "--credentials", "--help"};
constexpr std::string_view kFormats[] = {"table", "wide", "json", "yaml", "name"};
constexpr std::string_view kShells[] = {"bash", "zsh", "fish"};
constexpr std::string_view kPkiVerbs[] = {"init", "issue", "revoke", "list"};

// A server that is slow or away must not hold up a prompt.
constexpr std::int64_t kPromptMs = 1'500;

void Offer(const auto& words, std::string_view begun) {
  for (const auto& word : words) {
    if (std::string_view(word).starts_with(begun)) fmt::print("{}\n", Printable(word));
  }
}

// A session with what was typed of --context, --server and --project.
Result<bool> BeginQuietly(Session& session, Words words) {
  static constexpr std::string_view kTaken[] = {"--context", "--server", "--project", "-p",
                                                "--credentials"};
  std::vector<std::string> kept;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (std::ranges::find(kTaken, words[i]) == std::end(kTaken)) continue;
    kept.push_back(words[i]);
    kept.push_back(words[i + 1]);
  }
  OptionParser parser("");
  return session.Begin(parser, Verb::kOther, kept);
}

template <class Request, class Response>
void OfferNames(std::string_view method, const auto& items_of, Words words,
                std::string_view begun) {
  Session session("complete");
  const auto go_on = BeginQuietly(session, words);
  if (!go_on || !*go_on) return;
  Request request;
  request.set_parent(session.parent());
  request.set_page_size(1000);
  Response response;
  if (!session.Call(method, request, &response, kPromptMs)) return;
  std::vector<std::string> names;
  for (const auto& item : items_of(response))
    names.push_back(ShortName(session.project(), item.name()));
  Offer(names, begun);
}

void OfferThings(std::string_view noun, Words words, std::string_view begun) {
  if (noun == "vm") {
    OfferNames<v1::ListVirtualMachinesRequest, v1::ListVirtualMachinesResponse>(
        "VirtualMachines/List",
        [](const auto& response) -> const auto& { return response.virtual_machines(); }, words,
        begun);
  } else if (noun == "disk") {
    OfferNames<v1::ListDisksRequest, v1::ListDisksResponse>(
        "Disks/List", [](const auto& response) -> const auto& { return response.disks(); }, words,
        begun);
  } else if (noun == "net") {
    OfferNames<v1::ListNetworksRequest, v1::ListNetworksResponse>(
        "Networks/List", [](const auto& response) -> const auto& { return response.networks(); },
        words, begun);
  } else if (noun == "context") {
    if (const auto contexts = LoadContexts())
      for (const auto& [name, context] : contexts->all) Offer(std::vector{name}, begun);
  }
}

void OfferVerbs(std::string_view noun, std::string_view begun) {
  if (noun == "pki") return Offer(kPkiVerbs, begun);
  if (noun == "host") return Offer(std::vector<std::string_view>{"check"}, begun);
  if (noun == "completion") return Offer(kShells, begun);
  for (const Noun& known : AllNouns()) {
    if (known.noun != noun) continue;
    for (const VerbEntry& entry : known.verbs) Offer(std::vector{entry.verb}, begun);
  }
}

}  // namespace

Status CompletionCommand(Words words) {
  const std::string shell = words.empty() ? "" : words[0];
  if (shell == "bash") return Print(kBash);
  if (shell == "zsh") return Print(kZsh);
  if (shell == "fish") return Print(kFish);
  return std::unexpected(WithHint(
      {Code::kInvalidArgument, fmt::format("completion: {}: unknown; there is bash, zsh, fish",
                                           shell.empty() ? "no shell" : shell)},
      "source <(gemel completion bash)"));
}

Status CompleteCommand(Words words) {
  const std::string begun = words.empty() ? "" : words.back();
  const std::string before = words.size() < 2 ? "" : words[words.size() - 2];
  if (words.size() <= 1) {
    for (const Noun& noun : AllNouns()) Offer(std::vector{noun.noun}, begun);
    Offer(kOwnVerbs, begun);
  } else if (before == "-o" || before == "--output") {
    Offer(kFormats, begun);
  } else if (before == "--context") {
    OfferThings("context", words, begun);
  } else if (before == "--disk") {
    OfferThings("disk", words, begun);
  } else if (before == "--nic") {
    OfferThings("net", words, begun);
  } else if (words.size() == 2) {
    OfferVerbs(words[0], begun);
  } else if (begun.starts_with("-")) {
    Offer(kShared, begun);
  } else if (words[1] != "create" && words[1] != "list" && words[1] != "add") {
    OfferThings(words[0], words, begun);
  }
  return {};
}

}  // namespace gemel::cli
