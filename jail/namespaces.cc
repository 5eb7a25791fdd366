#include "jail/namespaces.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace gemel::jail {
namespace {

int Unshare(int flag) { return unshare(flag) == 0 ? 0 : errno; }

// A folder that every host has serves as the place to hang the new root from; nobody else sees it.
int EnterEmptyRoot() {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  constexpr unsigned long kFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  for (const char* place : {"/tmp", "/run", "/proc"}) {
    if (mount("none", place, "tmpfs", kFlags, "size=4k,nr_inodes=2,mode=555") != 0) continue;
    // The new root over the old one, and then the old one away (pivot_root(2), "pivot_root(".",
    // ".")").
    if (chdir(place) != 0 || syscall(SYS_pivot_root, ".", ".") != 0) return errno;
    if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return errno;
    return 0;
  }
  return errno;
}

}  // namespace

void LeaveTheHost(Shared& shared) {
  // The host's name may be read and no more, likewise the names of cgroups: no layers of their own.
  constexpr int kAll = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (Unshare(kAll) != 0) {
    shared.layer(Layer::kNetwork) = Unshare(CLONE_NEWNET);
    shared.layer(Layer::kIpc) = Unshare(CLONE_NEWIPC);
    shared.layer(Layer::kMount) = Unshare(CLONE_NEWNS);
  }
  const int mount_error = shared.layer(Layer::kMount);
  shared.layer(Layer::kRoot) = mount_error != 0 ? mount_error : EnterEmptyRoot();
}

}  // namespace gemel::jail
