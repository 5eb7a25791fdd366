// gemel: the command line. Small and without gRPC; verbs that need the daemon will exec
// gemel-client.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/command_run.h"
#include "cli/exec_program.h"
#include "cli/exit_status.h"
#include "cli/host_check.h"
#include "cli/report.h"
#include "vmm/config/suggest.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel run --kernel vmlinuz --initrd initrd.img
  gemel vm list

gemel runs virtual machines: on this host, or on those of a gemeld.

Usage: gemel COMMAND [ARGUMENT]...

Commands:
  run          boot a virtual machine in the foreground
  host check   what this host can do, and what to do about the rest
  vm disk net node event operation access
               what gemeld has and does (gemel vm --help)
  context      which gemeld is meant
  pki          certificates for calling gemeld over the network
  completion   for bash, zsh and fish
  version      this program's version

gemel COMMAND --help says more. Exit status: 0 done, 1 failed, 2 wrong input;
more: docs/EXIT_CODES.md.
)";

using Words = std::vector<std::string>;

// A caller may have closed some of 0, 1 and 2; what we open must not take their places.
void OpenStandardFds() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);
}

int ShowText(const std::string& text) {
  return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? kFailed : kDone;
}

int UnknownCommand(const std::string& word, std::span<const std::string_view> known,
                   std::string_view prefix) {
  const std::string_view nearest = NearestWord(word, known);
  Error error{Code::kInvalidArgument, fmt::format("{}{}: unknown command", prefix, word)};
  if (!nearest.empty()) error.message += fmt::format("; did you mean {}{}?", prefix, nearest);
  PrintError(WithHint(std::move(error), "see: gemel --help"));
  return kWrongInput;
}

int HostCommand(const Words& words) {
  static constexpr std::array<std::string_view, 1> kVerbs = {"check"};
  if (words.size() < 2) {
    PrintError(WithHint({Code::kInvalidArgument, "host: a verb is missing"}, "gemel host check"));
    return kWrongInput;
  }
  if (words[1] == "check") return HostCheckCommand(std::span(words).subspan(2));
  return UnknownCommand(words[1], kVerbs, "host ");
}

int Become(std::string_view program, std::string_view build_folder, const char* environment,
           std::span<const std::string> words) {
  PrintError(ExecProgram(program, build_folder, environment, words));
  return kFailed;
}

int Dispatch(const Words& words) {
  static constexpr std::array<std::string_view, 15> kNouns = {
      "run",  "host",    "pki",       "version", "help",   "vm",      "disk",      "net",
      "node", "cluster", "operation", "event",   "access", "context", "completion"};
  if (words.empty()) {
    ShowText(kHelp);
    return kWrongInput;
  }
  const std::span<const std::string> rest = std::span(words).subspan(1);
  if (words[0] == "run") return RunCommand(rest);
  if (words[0] == "host") return HostCommand(words);
  if (words[0] == "pki") return Become("gemel-pki", "cli", "GEMEL_PKI", rest);
  if (words[0] == "version" || words[0] == "--version")
    return ShowText("gemel " GEMEL_VERSION "\n");
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") return ShowText(kHelp);
  // The nouns of gemeld are gemel-client's.
  const bool asks_daemon =
      words[0] == "__complete" ||
      std::ranges::find(kNouns.begin() + 5, kNouns.end(), words[0]) != kNouns.end();
  if (asks_daemon) return Become("gemel-client", "cli/client", "GEMEL_CLIENT", words);
  return UnknownCommand(words[0], kNouns, "");
}

}  // namespace
}  // namespace gemel::cli

int main(int argc, char** argv) {
  gemel::cli::OpenStandardFds();
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const int status = gemel::cli::Dispatch(words);
  std::fflush(stdout);
  // Not exit(): a console thread may be stuck in a write that nobody reads, and owns what is
  // global.
  _exit(status);
}
