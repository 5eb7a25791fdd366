#include "cli/client/nouns.h"

#include "cli/report.h"
#include "vmm/config/suggest.h"

namespace gemel::cli {
namespace {

Status RunVerb(const Noun& noun, Words words) {
  if (words.size() < 2) {
    return std::unexpected(
        WithHint({Code::kInvalidArgument, fmt::format("{}: a verb is missing", noun.noun)},
                 fmt::format("see: gemel {} --help", noun.noun)));
  }
  if (words[1] == "--help" || words[1] == "-h" || words[1] == "help")
    return Print(
        fmt::format("{}\ngemel {} VERB --help says more. Exit status: docs/EXIT_CODES.md\n",
                    noun.help, noun.noun));
  std::vector<std::string_view> verbs;
  for (const VerbEntry& entry : noun.verbs) {
    if (entry.verb == words[1]) return entry.run(words.subspan(2));
    verbs.push_back(entry.verb);
  }
  const std::string_view nearest = NearestWord(words[1], verbs);
  Error error{Code::kInvalidArgument, fmt::format("{} {}: unknown command", noun.noun, words[1])};
  if (!nearest.empty()) error.message += fmt::format("; did you mean {} {}?", noun.noun, nearest);
  return std::unexpected(
      WithHint(std::move(error), fmt::format("see: gemel {} --help", noun.noun)));
}

}  // namespace

std::vector<Noun> AllNouns() {
  return {VmNoun(),        DiskNoun(),  NetNoun(),    NodeNoun(),   ClusterNoun(),
          OperationNoun(), EventNoun(), AccessNoun(), ContextNoun()};
}

Status RunNoun(Words words) {
  if (!words.empty() && words[0] == "completion") return CompletionCommand(words.subspan(1));
  if (!words.empty() && words[0] == "__complete") return CompleteCommand(words.subspan(1));
  for (const Noun& noun : AllNouns())
    if (!words.empty() && noun.noun == words[0]) return RunVerb(noun, words);
  return std::unexpected(WithHint(
      {Code::kInvalidArgument, fmt::format("{}: unknown command", words.empty() ? "" : words[0])},
      "see: gemel --help"));
}

}  // namespace gemel::cli
