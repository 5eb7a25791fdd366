"""Limits of machines as the kernel has them, and that they hold. Where there is no cgroup v2 with all its
controllers, tests/os/test_daemon.py runs these in the emulated host."""

import os
import pathlib

import gemeld
import pytest
from conftest import needs_kvm
from gemeld import v1
from test_statistics import WEB, stats
from test_uploads import parts

GROUPS = pathlib.Path("/sys/fs/cgroup")
OFFERED = (GROUPS / "cgroup.controllers").read_text().split() \
    if (GROUPS / "cgroup.controllers").exists() else []
pytestmark = [needs_kvm, pytest.mark.skipif(
    not {"cpu", "cpuset", "io", "memory"} <= set(OFFERED),
    reason="no cgroup v2 with cpu, cpuset, io and memory here: tests/os/test_daemon.py runs these")]


def group_of(daemon):
    return GROUPS / "gemel" / daemon.get(WEB).uid


def setting(daemon, name):
    return (group_of(daemon) / name).read_text().strip()


def inspect(daemon):
    return daemon.vms.Inspect(v1("virtual_machines").InspectVirtualMachineRequest(name=WEB))


def test_limits_of_the_spec_are_the_kernels(daemon):
    spec = daemon.spec("idle", "")
    spec.cpu.weight, spec.cpu.limit_millis = 300, 1500
    spec.cpu.pinned_cpus.append(1)
    spec.memory.limit_bytes = 100 * gemeld.MIB
    daemon.well(daemon.create(run=True, spec=spec))
    assert setting(daemon, "cpu.weight") == "300"
    assert setting(daemon, "cpu.max") == "150000 100000"
    assert setting(daemon, "cpuset.cpus.effective") == "1"
    assert setting(daemon, "memory.max") == str(100 * gemeld.MIB)
    seen = inspect(daemon).limits
    assert (seen.cgroup, seen.cpu_weight, seen.cpu_limit_millis, list(seen.cpus)) == \
        (str(group_of(daemon)), 300, 1500, [1])
    assert seen.memory_limit_bytes == 100 * gemeld.MIB
    assert gemeld.MIB < seen.memory_current_bytes < 100 * gemeld.MIB


def test_memory_limit_left_out_has_room_for_guest_and_process(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "", memory=64)))
    limit = int(setting(daemon, "memory.max"))
    assert 64 * gemeld.MIB < limit < 96 * gemeld.MIB
    assert inspect(daemon).limits.memory_limit_bytes == limit


def test_busy_machine_is_held_to_its_cap(daemon):
    spec = daemon.spec("faults", "spin")
    spec.cpu.limit_millis = 200
    daemon.well(daemon.create(run=True, spec=spec))

    def times():
        return dict(line.split() for line in setting(daemon, "cpu.stat").splitlines())

    daemon.until(lambda: int(times()["nr_throttled"]) >= 10, "throttling")
    seen = times()
    # A fifth of each period of 0.1 s, and what one tick of a processor overruns.
    assert int(seen["usage_usec"]) < int(seen["nr_periods"]) * 100_000 * 0.2 + 1_000_000


def test_machine_that_reaches_its_memory_limit_ends_with_the_reason(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    (group_of(daemon) / "memory.max").write_text("1M")
    daemon.until(lambda: daemon.state() != "RUNNING", "its end")
    assert "for want of memory" in daemon.get(WEB).status.last_exit.message, daemon.get(WEB)
    assert daemon.told("STATE_CHANGED")


def test_disk_is_read_no_faster_than_its_limit(daemon):
    daemon.well(daemon.disks.Upload(parts(os.urandom(8 * gemeld.MIB))))
    spec = daemon.spec("bench", "rw=randread bs=4096 qd=4 ms=600000 warm=0 settle=0 end=reset transport=mmio"
                       " wait=interrupt", memory=64, rng=False, acpi=False)
    disk = spec.disks.add(disk="projects/p/disks/root", direct=True)
    disk.limit.read_operations_per_second = 20
    daemon.well(daemon.create(run=True, spec=spec))
    line, = inspect(daemon).limits.io_limits
    assert "riops=20" in line.split() and line in setting(daemon, "io.max")
    daemon.until(lambda: stats(daemon)[0].disk_read_operations >= 20, "the first reads")
    before, = stats(daemon)
    daemon.until(lambda: stats(daemon)[0].disk_read_operations >= before.disk_read_operations + 100,
                 "100 reads")
    after, = stats(daemon)
    seconds = (after.sample_time.ToNanoseconds() - before.sample_time.ToNanoseconds()) / 1e9
    done = after.disk_read_operations - before.disk_read_operations
    assert done / seconds < 2 * 20, (done, seconds)
    assert "rios=" in setting(daemon, "io.stat")
