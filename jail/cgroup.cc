#include "jail/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace gemel::jail {
namespace {

constexpr long kMostThreads = 1024;  // 64 vCPUs, devices, and the kernel's workers of io_uring

const char* FindMount() {
  for (const char* place : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs facts{};
    if (statfs(place, &facts) == 0 && facts.f_type == CGROUP2_SUPER_MAGIC) return place;
  }
  return nullptr;
}

// The path of our own group: what follows "0::" in /proc/self/cgroup, where it is the last line.
bool AddOwnPath(Text& path) {
  char text[4096] = {};
  const int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return false;
  const char* line = std::strncmp(text, "0::", 3) == 0 ? text : std::strstr(text, "\n0::");
  if (line == nullptr) return false;
  char* const own = const_cast<char*>(line) + (*line == '\n' ? 4 : 3);
  own[std::strcspn(own, "\n")] = '\0';
  if (std::strcmp(own, "/") != 0) path << own;
  return true;
}

Text Below(const Text& folder, const char* name) {
  Text path;
  return path << folder.c_str() << name;
}

// Those of jails that were killed before they could remove theirs. One with somebody in it stays.
void SweepOldOnes(const Text& folder) {
  DIR* const entries = opendir(folder.c_str());
  if (entries == nullptr) return;
  while (const dirent* const entry = readdir(entries)) {
    if (std::strncmp(entry->d_name, "gemel-", 6) != 0) continue;
    const long pid = std::strtol(entry->d_name + 6, nullptr, 10);
    if (pid > 0 && kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH)
      unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
  }
  closedir(entries);
}

}  // namespace

int Cgroup::Join(const char* folder) {
  return WriteFile((Text() << folder << "/cgroup.procs").c_str(), Text() << "0");
}

int Cgroup::Create() {
  const char* const mount = FindMount();
  if (mount == nullptr) return ENOENT;
  path_ << mount;
  if (!AddOwnPath(path_)) return ENOENT;
  // Only where it is nobody's business but ours: at the root, or where it was done already.
  if (path_.size() == std::strlen(mount))
    WriteFile(Below(path_, "/cgroup.subtree_control").c_str(), Text() << "+pids");
  SweepOldOnes(path_);
  path_ << "/gemel-" << static_cast<long>(getpid());
  if (mkdir(path_.c_str(), 0755) != 0 && errno != EEXIST) return errno;
  fd_ = open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) return errno;
  WriteFile(Below(path_, "/pids.max").c_str(), Text() << kMostThreads);
  return 0;
}

int Cgroup::Add(pid_t process) const {
  return WriteFile(Below(path_, "/cgroup.procs").c_str(), Text() << static_cast<long>(process));
}

void Cgroup::Remove() const {
  if (path_.size() > 0) rmdir(path_.c_str());
}

}  // namespace gemel::jail
