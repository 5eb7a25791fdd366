#include "member/services.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "launch/child_process.h"

namespace gemel::member {
namespace {

// In the order in which they start.
std::vector<std::string> UnitsOf(cluster::Role role) {
  if (role == cluster::Role::kWitness) return {"gemel-witness.service"};
  return {"gemel-member.service", "gemel-keeper.service"};
}

Status Run(std::vector<std::string> words) {
  const std::string program = Systemctl();
  if (program.empty()) return {};
  words.insert(words.begin(), "systemctl");
  const std::string what = fmt::format("{}", fmt::join(words, " "));
  ASSIGN_OR_RETURN(launch::ChildProcess process,
                   launch::ChildProcess::Spawn(program, std::move(words), {}));
  const int status = process.Reap();
  if (status == 0) return {};
  return FailedPrecondition("{} {}", what, launch::DescribeEnd(status));
}

}  // namespace

std::string Systemctl() {
  if (const char* const forced = std::getenv("GEMEL_SYSTEMCTL"); forced != nullptr) return forced;
  struct stat found{};
  if (stat("/run/systemd/system", &found) != 0) return "";
  for (const char* const path : {"/usr/bin/systemctl", "/bin/systemctl"})
    if (access(path, X_OK) == 0) return path;
  return "";
}

Status StartServices(cluster::Role role) {
  for (const std::string& unit : UnitsOf(role)) RETURN_IF_ERROR(Run({"enable", "--now", unit}));
  // gemeld reads the cluster's file when it begins; machines outlive its restart.
  if (role == cluster::Role::kNode) static_cast<void>(Run({"try-restart", "gemeld.service"}));
  return {};
}

Status StopServices(cluster::Role role) {
  Status done;
  std::vector<std::string> units = UnitsOf(role);
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit)
    if (Status one = Run({"disable", "--now", *unit}); !one) done = std::move(one);
  return done;
}

Status StartMember() { return Run({"enable", "--now", "gemel-member.service"}); }

Status StopMember() { return Run({"disable", "--now", "gemel-member.service"}); }

}  // namespace gemel::member
