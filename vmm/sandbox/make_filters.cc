// Compiles the policy while Gemel is built: make_filters FILE writes the programs that gemel-vmm
// installs, and the names of system calls that it reports. So gemel-vmm need not spend 0.2 ms a
// thread on libseccomp at each start.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "vmm/sandbox/policy.h"

namespace gemel::sandbox {
namespace {

constexpr int kSyscalls = 512;  // numbers that may have a name

void Require(bool good, std::string_view what) {
  if (good) return;
  fmt::print(stderr, "make_filters: {}\n", what);
  std::exit(1);
}

std::vector<sock_filter> Export(scmp_filter_ctx context) {
  const UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
  Require(file && seccomp_export_bpf(context, file.get()) == 0, "export");
  const off_t size = lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> code(static_cast<std::size_t>(size) / sizeof(sock_filter));
  Require(pread(file.get(), code.data(), static_cast<std::size_t>(size), 0) == size, "read");
  return code;
}

std::vector<sock_filter> Compile(ThreadRole role) {
  // Trapped, so that a handler can name the call before it ends the process (sandbox.cc).
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_TRAP);
  Require(context != nullptr, "seccomp_init");
  // Other ways into the kernel (32 bit, x32) have other numbers for the same calls.
  seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  constexpr unsigned kBinaryTree = 2;
  seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, kBinaryTree);
  Require(seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, kFatalSyscall, 0) == 0, "fatal call");
  for (const Rule& rule : Policy()) {
    if (!Has(rule.roles, role)) continue;
    std::vector<scmp_arg_cmp> where;
    where.reserve(rule.where.size());
    for (const Compare& compare : rule.where)
      where.push_back({compare.argument, SCMP_CMP_MASKED_EQ, compare.mask, compare.value});
    const int result = seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.syscall,
                                              static_cast<unsigned>(where.size()), where.data());
    Require(result == 0, fmt::format("system call {}: error {}", rule.syscall, result));
  }
  std::vector<sock_filter> code = Export(context);
  seccomp_release(context);
  return code;
}

std::string Text() {
  std::string text = "// Made by make_filters of policy.cc.\n";
  for (std::size_t role = 0; role < kThreadRoles; ++role) {
    text += fmt::format("constexpr sock_filter kFilter{}[] = {{\n", role);
    for (const sock_filter& step : Compile(static_cast<ThreadRole>(role)))
      text += fmt::format("{{{:#x},{},{},{:#x}}},\n", step.code, step.jt, step.jf, step.k);
    text += "};\n";
  }
  text += "constexpr std::span<const sock_filter> kFilters[] = {";
  for (std::size_t role = 0; role < kThreadRoles; ++role) text += fmt::format("kFilter{},", role);
  // One text, each name with its zero: a table of pointers would be relocated at each start.
  text += "};\nconstexpr char kNames[] =\n";
  for (int number = 0; number < kSyscalls; ++number) {
    char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
    text += fmt::format("\"{}\\0\"\n", name == nullptr ? "" : name);
    std::free(name);
  }
  return text + ";\n";
}

}  // namespace
}  // namespace gemel::sandbox

int main(int argc, char** argv) {
  using gemel::sandbox::Require;
  Require(argc == 2, "usage: make_filters FILE");
  std::FILE* const file = std::fopen(argv[1], "w");
  Require(file != nullptr && std::fputs(gemel::sandbox::Text().c_str(), file) >= 0 &&
              std::fclose(file) == 0,
          argv[1]);
  return 0;
}
