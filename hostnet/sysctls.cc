#include "hostnet/sysctls.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <utility>

#include "base/file_util.h"

namespace gemel::hostnet {
namespace {

constexpr const char* kForward = "ipv4/ip_forward";
constexpr const char* kConf = "ipv4/conf";

class RealSysctls : public Sysctls {
 public:
  Result<std::string> Read(const std::string& name) override {
    ASSIGN_OR_RETURN(std::string text, ReadTextFile("/proc/sys/net/" + name));
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

  Status Write(const std::string& name, const std::string& value) override {
    ASSIGN_OR_RETURN(const UniqueFd fd, OpenFile("/proc/sys/net/" + name, O_WRONLY));
    if (write(fd.get(), value.data(), value.size()) < 0)
      return ErrnoError(errno, fmt::format("{}={}", name, value));
    return {};
  }

  Result<std::vector<std::string>> List(const std::string& folder) override {
    const std::string path = "/proc/sys/net/" + folder;
    DIR* dir = opendir(path.c_str());
    if (dir == nullptr) return ErrnoError(errno, path);
    std::vector<std::string> names;
    while (const dirent* entry = readdir(dir))
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    closedir(dir);
    return names;
  }
};

}  // namespace

std::unique_ptr<Sysctls> SystemSysctls() { return std::make_unique<RealSysctls>(); }

std::string BootId() {
  return ReadTextFile("/proc/sys/kernel/random/boot_id").value_or("unknown\n");
}

// "name value" a line, in the order in which they are to be put back.
Result<std::string> Forwarding::Snapshot() {
  std::string text = fmt::format("{} 0\n", kForward);
  const std::string redirects = fmt::format("{}/all/accept_redirects", kConf);
  ASSIGN_OR_RETURN(const std::string accept, sysctls_->Read(redirects));
  text += fmt::format("{} {}\n", redirects, accept);
  ASSIGN_OR_RETURN(const std::vector<std::string> interfaces, sysctls_->List(kConf));
  for (const std::string& interface : interfaces) {
    if (interface == "all") continue;
    const std::string name = fmt::format("{}/{}/forwarding", kConf, interface);
    // It may have gone meanwhile.
    if (const auto value = sysctls_->Read(name)) text += fmt::format("{} {}\n", name, *value);
  }
  return text;
}

Status Forwarding::Need() {
  ASSIGN_OR_RETURN(const std::string now, sysctls_->Read(kForward));
  if (now != "0") return {};
  // One that ended half-way has left values that are not the host's own.
  RETURN_IF_ERROR(Restore());
  ASSIGN_OR_RETURN(const std::string before, Snapshot());
  RETURN_IF_ERROR(ReplaceFile(record_, boot_ + before));
  return sysctls_->Write(kForward, "1");
}

Status Forwarding::Restore() {
  const auto record = ReadTextFile(record_);
  if (!record && record.error().code == Code::kNotFound) return {};
  if (!record) return std::unexpected(record.error());
  std::istringstream lines(record->starts_with(boot_) ? record->substr(boot_.size()) : "");
  for (std::string name, value; lines >> name >> value;) {
    const auto current = sysctls_->Read(name);
    if (current && *current != value) RETURN_IF_ERROR(sysctls_->Write(name, value));
  }
  if (unlink(record_.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, record_);
  return {};
}

}  // namespace gemel::hostnet
