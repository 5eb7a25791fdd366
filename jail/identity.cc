#include "jail/identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "jail/text.h"

namespace gemel::jail {
namespace {

constexpr uid_t kFirstUser = 0x70000000;  // above systemd's container users, below 2^31

int WriteMap(pid_t process, const char* name, long id) {
  Text path;
  path << "/proc/" << static_cast<long>(process) << "/" << name;
  Text map;
  map << id << " " << id << " 1";
  return WriteFile(path.c_str(), map);
}

}  // namespace

uid_t ChooseUser() {
  if (geteuid() != 0) return geteuid();
  return kFirstUser + static_cast<uid_t>(getpid());
}

int MapUser(pid_t process, uid_t user) {
  const bool root = geteuid() == 0;
  if (!root) {
    // Without privileges a group may be mapped only by a namespace that can drop none.
    Text path;
    path << "/proc/" << static_cast<long>(process) << "/setgroups";
    if (const int error = WriteFile(path.c_str(), Text() << "deny")) return error;
  }
  const long group = root ? static_cast<long>(user) : static_cast<long>(getegid());
  if (const int error = WriteMap(process, "gid_map", group)) return error;
  return WriteMap(process, "uid_map", static_cast<long>(user));
}

// The group's number is the user's.
int BecomeUser(uid_t user) {
  if (geteuid() == user) return 0;
  if (setgroups(0, nullptr) != 0) return errno;
  if (setresgid(user, user, user) != 0) return errno;
  if (setresuid(user, user, user) != 0) return errno;
  return 0;
}

void EmptyBoundingSet() {
  for (unsigned long capability = 0; capability < 64; ++capability)
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) break;  // past the last, or not ours
}

int DropCapabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  return syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

}  // namespace gemel::jail
