#include "grpc/vm_cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <set>
#include <sstream>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

constexpr std::uint64_t kCapPeriodUs = 100'000;
constexpr unsigned kMostThreads = 2048;  // vCPUs, devices, and the kernel's workers of io_uring

// One write, as cgroups want it. The errno, or 0.
int WriteSetting(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  return write(fd.get(), text.data(), text.size()) < 0 ? errno : 0;
}

std::string ReadSetting(const std::string& path) {
  auto text = ReadTextFile(path);
  if (!text) return {};
  while (text->ends_with('\n')) text->pop_back();
  return *text;
}

std::uint64_t ToNumber(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The number behind "<key> " at the start of a line, or of a word ("default 100").
std::uint64_t NumberOf(const std::string& text, const std::string& key) {
  std::istringstream words(text);
  std::string word;
  while (words >> word)
    if (word == key && words >> word) return ToNumber(word);
  return 0;
}

// "0-2,5": the kernel's lists of CPUs.
std::vector<std::uint32_t> ParseCpus(const std::string& text) {
  std::vector<std::uint32_t> cpus;
  std::istringstream parts(text);
  std::string part;
  while (std::getline(parts, part, ',')) {
    const std::size_t dash = part.find('-');
    const std::uint64_t first = ToNumber(part);
    const std::uint64_t last = dash == part.npos ? first : ToNumber(part.substr(dash + 1));
    for (std::uint64_t cpu = first; cpu <= last && cpus.size() < 8192; ++cpu)
      cpus.push_back(static_cast<std::uint32_t>(cpu));
  }
  return cpus;
}

std::string FormatCpus(const std::vector<std::uint32_t>& cpus) {
  return fmt::format("{}", fmt::join(cpus, ","));
}

bool IsCgroup2(const std::string& path) {
  struct statfs facts{};
  return statfs(path.c_str(), &facts) == 0 && facts.f_type == CGROUP2_SUPER_MAGIC;
}

std::string FindMount() {
  for (const char* place : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"})
    if (IsCgroup2(place)) return place;
  return {};
}

// "8:0", of the whole disk below a file or of the device itself: io.max knows no partitions.
Result<std::string> WholeDevice(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return ErrnoError(errno, path);
  const dev_t device = S_ISBLK(info.st_mode) ? info.st_rdev : info.st_dev;
  const std::string here = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
  struct stat there{};
  if (stat(here.c_str(), &there) != 0)
    return MakeError(Code::kFailedPrecondition, fmt::format("{}: on no block device", path));
  if (stat((here + "/partition").c_str(), &there) == 0) return ReadTextFile(here + "/../dev");
  return fmt::format("{}:{}", major(device), minor(device));
}

std::string Bound(std::uint64_t number) {
  return number == 0 ? std::string("max") : fmt::format("{}", number);
}

// Applies settings, and gathers what cannot be put in force.
class Settings {
 public:
  explicit Settings(std::string folder) : folder_(std::move(folder)) {}

  void Set(const char* what, const char* file, const std::string& value, bool wanted) {
    const int error = WriteSetting(folder_ + "/" + file, value);
    if (error != 0 && wanted) Miss(what, error);
  }
  void Miss(const char* what, int error) {
    Miss(what, error == ENOENT ? "this kernel, or the group above, has no such controller"
                               : std::strerror(error));
  }
  void Miss(const char* what, const std::string& why) {
    missing_.push_back(fmt::format("{}: {}", what, why));
  }
  std::vector<std::string> Take() && { return std::move(missing_); }

 private:
  const std::string folder_;
  std::vector<std::string> missing_;
};

void ApplyIo(const VmLimits& limits, Settings& settings) {
  settings.Set("io weight", "io.weight", fmt::format("default {}", limits.io_weight),
               limits.io_weight != 100);
  for (const IoLimit& limit : limits.io) {
    auto device = WholeDevice(limit.path);
    if (!device) {
      settings.Miss("io", device.error().message);
      continue;
    }
    while (device->ends_with('\n')) device->pop_back();
    settings.Set(
        "io", "io.max",
        fmt::format("{} rbps={} wbps={} riops={} wiops={}", *device, Bound(limit.read_bytes),
                    Bound(limit.write_bytes), Bound(limit.read_ops), Bound(limit.write_ops)),
        true);
  }
}

}  // namespace

std::uint64_t MemoryOverhead(const VmSize& size) {
  constexpr std::uint64_t kMiB = 1 << 20;
  constexpr std::uint64_t kBase = 16 * kMiB;  // both jails, gemel-vmm, scroll-back, in-kernel chips
  constexpr std::uint64_t kPerCpu = 1 * kMiB, kPerDevice = 1 * kMiB;
  constexpr std::uint64_t kPageTables = 128;  // host's and KVM's: 2 × 8 bytes a 4 KiB, doubled
  return kBase + size.cpus * kPerCpu + size.devices * kPerDevice + size.memory / kPageTables;
}

VmCgroups::VmCgroups(std::string parent) : parent_(std::move(parent)) {
  if (parent_.empty()) {
    const std::string mount = FindMount();
    if (mount.empty()) {
      missing_ = "this host has no cgroup v2";
      return;
    }
    parent_ = mount + "/gemel";
  }
  if (mkdir(parent_.c_str(), 0755) != 0 && errno != EEXIST) {
    missing_ = fmt::format("{}: {}", parent_, std::strerror(errno));
    return;
  }
  if (!IsCgroup2(parent_)) {
    missing_ = parent_ + ": not in a cgroup v2 hierarchy";
    return;
  }
  // From the top down; each alone, since one that is not there would refuse all.
  const std::string above = parent_.substr(0, parent_.rfind('/'));
  for (const std::string& folder : {above, parent_})
    for (const char* controller : {"+cpu", "+memory", "+io", "+pids", "+cpuset"})
      WriteSetting(folder + "/cgroup.subtree_control", controller);
}

std::string VmCgroups::Create(const std::string& uid) const {
  if (!missing_.empty()) return {};
  std::string folder = Folder(uid);
  if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return {};
  WriteSetting(folder + "/pids.max", fmt::format("{}", kMostThreads));
  return folder;
}

std::vector<std::string> VmCgroups::Apply(const std::string& uid, const VmLimits& limits) const {
  if (!missing_.empty()) {
    if (limits == VmLimits{}) return {};
    return {"limits: " + missing_};
  }
  Settings settings(Folder(uid));
  settings.Set("cpu weight", "cpu.weight", fmt::format("{}", limits.cpu_weight),
               limits.cpu_weight != 100);
  const std::string quota = limits.cpu_cap_milli == 0
                                ? "max"
                                : fmt::format("{}", limits.cpu_cap_milli * kCapPeriodUs / 1000);
  settings.Set("cpu cap", "cpu.max", fmt::format("{} {}", quota, kCapPeriodUs),
               limits.cpu_cap_milli != 0);
  settings.Set("memory", "memory.max", Bound(limits.memory), limits.memory != 0);
  settings.Set("cpus", "cpuset.cpus", FormatCpus(limits.cpus) + "\n", !limits.cpus.empty());
  ApplyIo(limits, settings);
  return std::move(settings).Take();
}

VmLimitsInForce VmCgroups::Read(const std::string& uid) const {
  VmLimitsInForce in_force;
  if (!missing_.empty()) return in_force;
  const std::string folder = Folder(uid);
  struct stat info{};
  if (stat(folder.c_str(), &info) != 0) return in_force;
  in_force.cgroup = folder;
  in_force.cpu_weight = static_cast<std::uint32_t>(ToNumber(ReadSetting(folder + "/cpu.weight")));
  const std::string cap = ReadSetting(folder + "/cpu.max");
  if (!cap.starts_with("max") && cap.find(' ') != cap.npos) {
    const std::uint64_t period = ToNumber(cap.substr(cap.find(' ') + 1));
    if (period != 0)
      in_force.cpu_cap_milli = static_cast<std::uint32_t>(ToNumber(cap) * 1000 / period);
  }
  in_force.memory = ToNumber(ReadSetting(folder + "/memory.max"));
  in_force.memory_current = MemoryInUse(uid);
  in_force.io_weight =
      static_cast<std::uint32_t>(NumberOf(ReadSetting(folder + "/io.weight"), "default"));
  std::istringstream lines(ReadSetting(folder + "/io.max"));
  for (std::string line; std::getline(lines, line);) in_force.io.push_back(line);
  in_force.cpus = ParseCpus(ReadSetting(folder + "/cpuset.cpus.effective"));
  return in_force;
}

std::uint64_t VmCgroups::MemoryInUse(const std::string& uid) const {
  if (!missing_.empty()) return 0;
  return ToNumber(ReadSetting(Folder(uid) + "/memory.current"));
}

std::uint64_t VmCgroups::OutOfMemoryKills(const std::string& uid) const {
  if (!missing_.empty()) return 0;
  return NumberOf(ReadSetting(Folder(uid) + "/memory.events"), "oom_kill");
}

void VmCgroups::KillAll(const std::string& uid) const {
  if (missing_.empty()) WriteSetting(Folder(uid) + "/cgroup.kill", "1");
}

bool VmCgroups::Remove(const std::string& uid) const {
  return !missing_.empty() || rmdir(Folder(uid).c_str()) == 0 || errno == ENOENT;
}

}  // namespace gemel::daemon
