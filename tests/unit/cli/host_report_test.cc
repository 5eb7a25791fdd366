#include "cli/host_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

namespace gemel::cli {
namespace {

HostFacts GoodFacts() {
  HostFacts facts;
  facts.kvm.module = "kvm_amd";
  facts.kvm.nested_paging = true;
  facts.kvm.max_vcpus = 1024;
  facts.kvm.runs_unmodified_os = true;
  facts.memory.memory_bytes = 125ull << 30;
  facts.memory.available_bytes = 118ull << 30;
  facts.memory.hugepages_known = true;
  facts.thp = "always";
  facts.landlock_abi = 2;
  facts.seccomp = true;
  facts.watchdog = true;
  facts.watchdog_identity = "iTCO_wdt";
  return facts;
}
CheckLine LineOf(const HostFacts& facts, std::string_view name) {
  const HostReport report = JudgeHost(facts);
  const auto line = std::ranges::find(report.lines, name, &CheckLine::name);
  EXPECT_NE(line, report.lines.end());
  return *line;
}
std::string LastLine(const HostFacts& facts) {
  std::string text = FormatText(JudgeHost(facts), {});
  text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

TEST(HostReport, EverythingThere_FitForAll) {
  EXPECT_EQ(LastLine(GoodFacts()), "fit to run VMs and for a cluster");
  EXPECT_EQ(LineOf(GoodFacts(), "KVM").summary, "kvm_amd, nested paging, 64 vCPUs a VM");
  EXPECT_EQ(LineOf(GoodFacts(), "memory").summary,
            "125 GiB, 118 GiB free, 2 MiB pages: 0 reserved");
}
TEST(HostReport, NoWatchdog_NotFitForCluster) {
  HostFacts facts = GoodFacts();
  facts.watchdog = false;
  EXPECT_EQ(LastLine(facts), "fit to run VMs; not yet fit for a cluster (1 problem)");
  EXPECT_EQ(LineOf(facts, "watchdog").advice, "modprobe softdog, or your BMC's driver");
}
TEST(HostReport, Softdog_Warning) {
  HostFacts facts = GoodFacts();
  facts.watchdog_identity = "Software Watchdog";
  EXPECT_EQ(LineOf(facts, "watchdog").state, CheckState::kWarning);
}
TEST(HostReport, NoKvm_AdviceFitsTheHost) {
  HostFacts facts = GoodFacts();
  facts.kvm = {};
  facts.kvm.open.error = ENOENT;
  EXPECT_EQ(LineOf(facts, "KVM").advice, "switch VT-x or AMD-V (SVM) on in the firmware's set-up");
  facts.kvm.in_virtual_machine = true;
  EXPECT_EQ(LineOf(facts, "KVM").advice,
            "this host is a virtual machine itself: switch nested virtualization on for it");
  facts.kvm.cpu_has_extension = true;
  EXPECT_EQ(LineOf(facts, "KVM").advice, "modprobe kvm_intel");
  facts.kvm.cpu_is_amd = true;
  EXPECT_EQ(LineOf(facts, "KVM").advice, "modprobe kvm_amd");
  EXPECT_EQ(LastLine(facts), "not fit to run VMs (1 problem)");
}
TEST(HostReport, NoPermission_NamesTheGroup) {
  HostFacts facts = GoodFacts();
  facts.kvm.open.error = EACCES;
  EXPECT_EQ(LineOf(facts, "KVM").advice, "usermod -aG kvm $USER, and log in again");
}
TEST(HostReport, KvmWithoutUnmodifiedGuests_ProblemWithReasons) {
  HostFacts facts = GoodFacts();
  facts.kvm.module = "kvm_pvm";
  facts.kvm.runs_unmodified_os = false;
  facts.kvm.missing = {"It cannot do that."};
  EXPECT_EQ(LineOf(facts, "KVM").state, CheckState::kProblem);
  EXPECT_NE(FormatText(JudgeHost(facts), {}).find("\n                    It cannot do that.\n"),
            std::string::npos);
}
TEST(HostReport, KvmThatCannotBeAsked_Problem) {
  HostFacts facts = GoodFacts();
  facts.kvm.probe_error = "/dev/kvm: Inappropriate ioctl for device";
  EXPECT_EQ(LineOf(facts, "KVM").state, CheckState::kProblem);
}
TEST(HostReport, NoIoUring_WarnsOnly) {
  HostFacts facts = GoodFacts();
  facts.io_uring.error = EPERM;
  EXPECT_EQ(LineOf(facts, "io_uring").state, CheckState::kWarning);
  EXPECT_EQ(LineOf(facts, "io_uring").advice, "sysctl kernel.io_uring_disabled=0");
  EXPECT_EQ(LastLine(facts), "fit to run VMs and for a cluster");
}
TEST(HostReport, DeviceMissingOrForbidden_TellsApart) {
  HostFacts facts = GoodFacts();
  facts.vhost_net.error = ENOENT;
  EXPECT_EQ(LineOf(facts, "vhost-net").advice, "modprobe vhost_net");
  facts.vhost_net.error = EACCES;
  EXPECT_EQ(LineOf(facts, "vhost-net").advice, "as root: setfacl -m u:$USER:rw /dev/vhost-net");
}
TEST(HostReport, SandboxLayersMissing_Listed) {
  HostFacts facts = GoodFacts();
  facts.landlock_abi = 0;
  facts.user_namespaces.error = EPERM;
  EXPECT_EQ(LineOf(facts, "sandbox").summary,
            "a layer less around each VM: no Landlock, no user namespaces");
}
TEST(HostReport, NothingKnown_StillALineEach) {
  HostFacts facts;
  facts.kvm.open.error = ENOENT;
  EXPECT_EQ(JudgeHost(facts).lines.size(), 8u);
  EXPECT_EQ(LineOf(facts, "memory").state, CheckState::kWarning);
}

TEST(HostReportText, Terminal_SignsAndColours) {
  const std::string text = FormatText(JudgeHost(GoodFacts()), {true, true});
  EXPECT_TRUE(text.starts_with("\x1b[32m✓\x1b[0m KVM            kvm_amd"));
}
TEST(HostReportText, Elsewhere_AsciiAlone) {
  const std::string text = FormatText(JudgeHost(GoodFacts()), {});
  EXPECT_TRUE(text.starts_with("ok   KVM            kvm_amd"));
  EXPECT_TRUE(
      std::ranges::all_of(text, [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); }));
}
TEST(HostReportJson, QuotesAndControlCharacters_Escaped) {
  HostFacts facts = GoodFacts();
  facts.watchdog_identity = "a\"b\\c\x01";
  const std::string json = FormatJson(JudgeHost(facts), facts);
  EXPECT_NE(json.find(R"("summary": "a\"b\\c\u0001")"), std::string::npos);
}

}  // namespace
}  // namespace gemel::cli
