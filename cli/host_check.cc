#include "cli/host_check.h"

#include <fcntl.h>
#include <langinfo.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/file_util.h"
#include "cli/arguments.h"
#include "cli/exit_status.h"
#include "cli/host_facts.h"
#include "cli/host_report.h"
#include "cli/report.h"
#include "vmm/kvm/probe.h"

namespace gemel::cli {
namespace {

constexpr char kDescription[] =
    R"(Examples:
  gemel host check
  gemel host check -o json

Says what this host can do for virtual machines and what to do about the rest. Runs guests of a few
instructions to find out whether its KVM runs an unmodified operating system; changes nothing.
Ends with 0 if the host is fit to run VMs, 1 if it is not.
)";

void AskKvm(KvmFacts& facts) {
  if (!facts.open.ok()) return;
  auto fd = OpenFile("/dev/kvm", O_RDWR);
  auto probe = fd ? kvm::ProbeKvm(fd->get()) : Result<kvm::KvmProbe>(std::unexpected(fd.error()));
  if (!probe) {
    facts.probe_error = probe.error().message;
    return;
  }
  facts.max_vcpus = probe->max_vcpus;
  facts.physical_address_bits = probe->physical_address_bits;
  facts.runs_unmodified_os = probe->runs_unmodified_os;
  facts.missing = probe->missing;
}

TextStyle StyleOfStdout() {
  std::setlocale(LC_CTYPE, "");
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  return {terminal && std::string_view(nl_langinfo(CODESET)) == "UTF-8",
          terminal && !dumb && (no_colour == nullptr || *no_colour == '\0')};
}

}  // namespace

int HostCheckCommand(std::span<const std::string> arguments) {
  std::string output = "text";
  OptionParser parser(kDescription);
  parser.AddOption("--output,-o", output, "text or json").Value("FORMAT").Default("text");
  const auto help = parser.Parse("gemel host check", arguments);
  if (!help) {
    PrintError(help.error());
    return kWrongInput;
  }
  if (*help) {
    std::fputs((*help)->c_str(), stdout);
    return kDone;
  }
  if (output != "text" && output != "json") {
    PrintError(
        {Code::kInvalidArgument, fmt::format("output: {}: unknown; there is text, json", output)});
    return kWrongInput;
  }
  HostFacts facts = ReadHostFacts();
  AskKvm(facts.kvm);
  const HostReport report = JudgeHost(facts);
  const std::string text =
      output == "json" ? FormatJson(report, facts) : FormatText(report, StyleOfStdout());
  std::fputs(text.c_str(), stdout);
  return report.fit_to_run() ? kDone : kFailed;
}

}  // namespace gemel::cli
