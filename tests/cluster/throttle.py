"""Little processor time for a process: cpu.max of cgroup v2, or what the first version has for it."""

import os
import pathlib

ROOTS = (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/cpu"))
PERIOD_US = 100000
PREFIX = "gemel-nemesis-"


def root():
    """Where groups with a limit of processor time can be made, or None."""
    for place in ROOTS:
        if (place / "cpu.cfs_quota_us").exists():
            return place
        controllers = place / "cgroup.subtree_control"
        if controllers.exists() and "cpu" in controllers.read_text(encoding="ascii").split():
            return place
    return None


class Throttle:
    """At most `part` of one processor, for all threads of that process, until end()."""

    def __init__(self, pid, part):
        # In a namespace of processes a number says little: the folder's name has the namespace's, too.
        own = os.stat("/proc/self/ns/pid").st_ino
        self.group = root() / f"{PREFIX}{own}-{pid}"
        self.group.mkdir()
        quota = max(1000, int(part * PERIOD_US))
        if (self.group / "cpu.max").exists():
            self.write("cpu.max", f"{quota} {PERIOD_US}")
        else:
            self.write("cpu.cfs_period_us", PERIOD_US)
            self.write("cpu.cfs_quota_us", quota)
        self.write("cgroup.procs", pid)

    def write(self, name, value):
        (self.group / name).write_text(f"{value}", encoding="ascii")

    def end(self):
        for pid in (self.group / "cgroup.procs").read_text(encoding="ascii").split():
            try:
                (self.group.parent / "cgroup.procs").write_text(pid, encoding="ascii")
            except ProcessLookupError:
                pass
        try:
            self.group.rmdir()
        except OSError:  # what ends there has not been reaped yet: the next one removes it
            pass


def forget_old():
    """Removes what is empty: of worlds that were interrupted."""
    for place in root().glob(f"{PREFIX}*") if root() else ():
        try:
            place.rmdir()
        except OSError:
            pass
