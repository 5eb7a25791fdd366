#include "cli/host_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "vmm/config/machine_config.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

using State = CheckState;

std::string AdviceForMissingKvm(const KvmFacts& kvm) {
  if (kvm.cpu_has_extension) return kvm.cpu_is_amd ? "modprobe kvm_amd" : "modprobe kvm_intel";
  if (kvm.in_virtual_machine)
    return "this host is a virtual machine itself: switch nested virtualization on for it";
  return "switch VT-x or AMD-V (SVM) on in the firmware's set-up";
}

CheckLine UnopenableKvm(const KvmFacts& kvm) {
  CheckLine line{"KVM", State::kProblem, CheckScope::kRun, "", "", {}};
  if (kvm.open.error == EACCES || kvm.open.error == EPERM) {
    line.summary = "/dev/kvm: no permission";
    line.advice = "usermod -aG kvm $USER, and log in again";
    return line;
  }
  if (kvm.open.error == ENOENT || kvm.open.error == ENODEV || kvm.open.error == ENXIO) {
    line.summary = "no /dev/kvm";
    line.advice = AdviceForMissingKvm(kvm);
    return line;
  }
  line.summary = fmt::format("/dev/kvm: {}", strerror(kvm.open.error));
  return line;
}

CheckLine JudgeKvm(const KvmFacts& kvm) {
  if (!kvm.open.ok()) return UnopenableKvm(kvm);
  const std::string module = kvm.module.empty() ? "built into the kernel" : kvm.module;
  CheckLine line{"KVM", State::kGood, CheckScope::kRun, module, "", {}};
  if (!kvm.probe_error.empty()) {
    line.state = State::kProblem;
    line.summary += ", " + kvm.probe_error;
    return line;
  }
  if (!kvm.runs_unmodified_os) {
    line.state = State::kProblem;
    line.summary += ", runs no unmodified operating system";
    line.advice = "a host with VT-x or AMD-V does";
    line.details = kvm.missing;
    return line;
  }
  line.summary += fmt::format(", {}{} vCPUs a VM", kvm.nested_paging ? "nested paging, " : "",
                              std::min(kvm.max_vcpus, kMaxCpus));
  if (!kvm.nested_paging && !kvm.module.empty()) {
    line.state = State::kWarning;
    line.summary += ", no nested paging: memory-heavy guests are slow";
  }
  return line;
}

CheckLine JudgeMemory(const HostLimits& memory) {
  CheckLine line{"memory", State::kGood, CheckScope::kRun, "", "", {}};
  if (memory.memory_bytes == 0) {
    line.state = State::kWarning;
    line.summary = "not known: /proc/meminfo cannot be read";
    return line;
  }
  line.summary =
      fmt::format("{}, {} free", RoughSize(memory.memory_bytes), RoughSize(memory.available_bytes));
  if (memory.hugepages_known && memory.hugepage_bytes == 0)
    line.summary += ", 2 MiB pages: 0 reserved";
  if (memory.hugepages_known && memory.hugepage_bytes != 0)
    line.summary +=
        fmt::format(", 2 MiB pages: {} reserved, {} free", RoughSize(memory.hugepage_bytes),
                    RoughSize(memory.free_hugepage_bytes));
  if (memory.available_bytes < kMinMemoryBytes) {
    line.state = State::kProblem;
    line.advice = "stop something";
  }
  return line;
}

CheckLine JudgeThp(const std::string& thp) {
  CheckLine line{"huge pages", State::kGood, CheckScope::kRun, "transparent: " + thp, "", {}};
  if (thp == "always" || thp == "madvise") return line;
  line.state = State::kWarning;
  line.summary = "transparent huge pages are off: guests' memory is slower";
  line.advice = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  return line;
}

CheckLine JudgeIoUring(const HostFacts& facts) {
  CheckLine line{"io_uring", State::kGood, CheckScope::kRun, "allowed, and can be restricted", "",
                 {}};
  if (!facts.io_uring.ok()) {
    line.state = State::kWarning;
    line.summary = fmt::format("not allowed ({}): disks use plain system calls, slower",
                               strerror(facts.io_uring.error));
    if (facts.io_uring.error != ENOSYS) line.advice = "sysctl kernel.io_uring_disabled=0";
  } else if (!facts.io_uring_restrictions.ok()) {
    line.state = State::kWarning;
    line.summary = "cannot be restricted: disks use plain system calls, slower";
    line.advice = "a kernel from 5.10 on can";
  }
  return line;
}

CheckLine JudgeDevice(std::string name, const Attempt& open, std::string_view without,
                      std::string_view module, std::string_view path) {
  CheckLine line{std::move(name), State::kGood, CheckScope::kRun, "ready", "", {}};
  if (open.ok()) return line;
  line.state = State::kWarning;
  if (open.error == EACCES || open.error == EPERM) {
    line.summary = fmt::format("no permission: {}", without);
    line.advice = fmt::format("as root: setfacl -m u:$USER:rw {}", path);
    return line;
  }
  line.summary = fmt::format("module not loaded: {}", without);
  line.advice = fmt::format("modprobe {}", module);
  return line;
}

CheckLine JudgeSandbox(const HostFacts& facts) {
  CheckLine line{"sandbox", State::kGood, CheckScope::kRun, "", "", {}};
  std::vector<std::string> absent;
  if (!facts.seccomp) absent.emplace_back("seccomp");
  if (facts.landlock_abi == 0) absent.emplace_back("Landlock");
  if (!facts.user_namespaces.ok()) absent.emplace_back("user namespaces");
  if (absent.empty()) {
    line.summary = fmt::format("seccomp, Landlock (ABI {}), user namespaces", facts.landlock_abi);
    return line;
  }
  line.state = State::kWarning;
  line.summary = "a layer less around each VM: no ";
  for (const std::string& one : absent) line.summary += (&one == &absent[0] ? "" : ", no ") + one;
  if (facts.landlock_abi == 0)
    line.advice = "boot with lsm=landlock,... (cat /sys/kernel/security/lsm)";
  else if (!facts.user_namespaces.ok())
    line.advice = "sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1";
  return line;
}

CheckLine JudgeWatchdog(const HostFacts& facts) {
  CheckLine line{"watchdog", State::kGood, CheckScope::kCluster, facts.watchdog_identity, "", {}};
  if (!facts.watchdog) {
    line.state = State::kProblem;
    line.summary = "no /dev/watchdog: this host cannot fence itself in hardware";
    line.advice = "modprobe softdog, or your BMC's driver";
    return line;
  }
  if (line.summary.empty()) line.summary = "/dev/watchdog";
  if (facts.watchdog_identity == "Software Watchdog") {
    line.state = State::kWarning;
    line.summary += ": stops with the kernel that it watches";
    line.advice = "your BMC's driver does not";
  }
  return line;
}

std::string Count(std::size_t problems) {
  return fmt::format("{} problem{}", problems, problems == 1 ? "" : "s");
}

std::string Verdict(const HostReport& report) {
  if (!report.fit_to_run())
    return fmt::format("not fit to run VMs ({})", Count(report.Problems(CheckScope::kRun)));
  if (!report.fit_for_cluster())
    return fmt::format("fit to run VMs; not yet fit for a cluster ({})",
                       Count(report.Problems(CheckScope::kCluster)));
  return "fit to run VMs and for a cluster";
}

struct Sign {
  std::string_view sign, word, colour;
};
Sign SignOf(State state) {
  switch (state) {
    case State::kGood:
      return {"✓", "ok  ", "\x1b[32m"};
    case State::kWarning:
      return {"!", "warn", "\x1b[33m"};
    case State::kProblem:
      break;
  }
  return {"✗", "bad ", "\x1b[31m"};
}

std::string_view StateWord(State state) {
  switch (state) {
    case State::kGood:
      return "good";
    case State::kWarning:
      return "warning";
    case State::kProblem:
      break;
  }
  return "problem";
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      quoted += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < 0x20)
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      quoted += c;
  }
  return quoted + '"';
}

std::string LineJson(const CheckLine& line) {
  std::string details;
  for (const std::string& one : line.details)
    details += (details.empty() ? "" : ", ") + Quoted(one);
  return fmt::format(
      R"({{"name": {}, "state": "{}", "scope": "{}", "summary": {}, "advice": {}, "details": [{}]}})",
      Quoted(line.name), StateWord(line.state), line.scope == CheckScope::kRun ? "run" : "cluster",
      Quoted(line.summary), Quoted(line.advice), details);
}

}  // namespace

std::size_t HostReport::Problems(CheckScope scope) const {
  return static_cast<std::size_t>(std::ranges::count_if(lines, [scope](const CheckLine& line) {
    return line.scope == scope && line.state == State::kProblem;
  }));
}

HostReport JudgeHost(const HostFacts& facts) {
  return {{JudgeKvm(facts.kvm), JudgeMemory(facts.memory), JudgeThp(facts.thp), JudgeIoUring(facts),
           JudgeDevice("vhost-net", facts.vhost_net, "networking works, a third slower",
                       "vhost_net", "/dev/vhost-net"),
           JudgeDevice("tun", facts.tun, "VMs have user networking alone", "tun", "/dev/net/tun"),
           JudgeSandbox(facts), JudgeWatchdog(facts)}};
}

std::string FormatText(const HostReport& report, TextStyle style) {
  std::string text;
  for (const CheckLine& line : report.lines) {
    const Sign sign = SignOf(line.state);
    if (style.colour) text += sign.colour;
    text += style.unicode ? sign.sign : sign.word;
    if (style.colour) text += "\x1b[0m";
    text += fmt::format(" {:<14} {}", line.name, line.summary);
    if (!line.advice.empty()) text += fmt::format(" ({})", line.advice);
    text += '\n';
    for (const std::string& detail : line.details)
      text += fmt::format("{:{}}{}\n", "", style.unicode ? 17 : 20, detail);
  }
  return text + Verdict(report) + '\n';
}

std::string FormatJson(const HostReport& report, const HostFacts& facts) {
  std::string checks;
  for (const CheckLine& line : report.lines)
    checks += (checks.empty() ? "\n    " : ",\n    ") + LineJson(line);
  const KvmFacts& kvm = facts.kvm;
  return fmt::format(
      R"({{
  "fit_to_run": {},
  "fit_for_cluster": {},
  "verdict": {},
  "kvm": {{"available": {}, "module": {}, "runs_unmodified_os": {}, "nested_paging": {}, "max_vcpus": {}, "physical_address_bits": {}}},
  "memory": {{"total_bytes": {}, "available_bytes": {}, "hugepage_bytes": {}, "free_hugepage_bytes": {}}},
  "checks": [{}
  ]
}}
)",
      report.fit_to_run(), report.fit_for_cluster(), Quoted(Verdict(report)), kvm.open.ok(),
      Quoted(kvm.module), kvm.runs_unmodified_os, kvm.nested_paging, kvm.max_vcpus,
      kvm.physical_address_bits, facts.memory.memory_bytes, facts.memory.available_bytes,
      facts.memory.hugepage_bytes, facts.memory.free_hugepage_bytes, checks);
}

}  // namespace gemel::cli
