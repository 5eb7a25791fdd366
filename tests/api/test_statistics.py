"""What machines use, what is in force, and what is told when a machine or its disk is in trouble."""

import os
import pathlib
import signal

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1

WEB = "projects/p/vms/web"


def stats(daemon, **fields):
    return daemon.vms.ListStats(v1("virtual_machines").ListVirtualMachineStatsRequest(
        parent="projects/-", **fields)).virtual_machine_stats


def vmm_of(daemon, name=WEB):
    pid = daemon.get(name).status.pid
    assert pathlib.Path(f"/proc/{pid}/comm").read_text() == "gemel-vmm\n"
    return pid


def with_disk(daemon, words, size=4 * gemeld.MIB):
    disks = v1("disks")
    daemon.well(daemon.disks.Create(disks.CreateDiskRequest(
        parent="projects/p", disk_id="root", disk=disks.Disk(pool="default", size_bytes=size))))
    spec = daemon.spec("bench", words, memory=64, rng=False, acpi=False)
    spec.disks.add(disk="projects/p/disks/root")
    return spec


@needs_kvm
def test_statistics_of_machines_that_run(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    daemon.create("off")
    seen, = stats(daemon)
    assert seen.name == WEB and seen.sample_time.seconds > 1_700_000_000
    assert seen.cpu_time.seconds + seen.cpu_time.nanos > 0
    assert seen.vcpu_time.seconds + seen.vcpu_time.nanos > 0
    assert seen.memory_resident_bytes > gemeld.MIB
    assert not stats(daemon, filter="name = projects/p/vms/off")
    assert daemon.get("projects/p/vms/off").status.pid == 0
    with pytest.raises(grpc.RpcError) as failure:
        stats(daemon, filter="colour = red")
    assert gemeld.fields_of(failure.value) == ["filter"]


@needs_kvm
def test_statistics_of_machines_by_name(daemon):
    for vm_id in ("a", "b"):
        daemon.well(daemon.create(vm_id, run=True, spec=daemon.spec("idle", "")))
    one = "projects/p/vms/b"
    assert [seen.name for seen in stats(daemon, names=[one, "projects/p/vms/none", one])] == [one]
    assert not stats(daemon, names=[one], filter="name = projects/p/vms/a")
    for fields in ({"names": [one], "page_size": 1}, {"names": [one] * 1001}):
        with pytest.raises(grpc.RpcError) as failure:
            stats(daemon, **fields)
        assert gemeld.fields_of(failure.value) == ["names"]


@needs_kvm
def test_disk_operations_bytes_and_times_are_counted(daemon):
    words = "rw=randwrite bs=4096 qd=4 ms=60000 warm=0 settle=0 end=reset transport=mmio wait=interrupt"
    daemon.well(daemon.create(run=True, spec=with_disk(daemon, words)))
    daemon.until(lambda: stats(daemon)[0].disk_write_operations > 100, "writes")
    seen, = stats(daemon)
    # A sample is taken while the guest writes: the two counters may be a batch apart.
    assert abs(seen.disk_write_bytes - seen.disk_write_operations * 4096) <= 64 * 4096
    assert 0 < seen.disk_write_time.seconds * 10**9 + seen.disk_write_time.nanos < 4 * 120 * 10**9
    assert seen.disk_errors == 0 and seen.disk_read_operations == 0


@needs_kvm
def test_inspect_shows_process_overhead_and_limits(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    seen = daemon.vms.Inspect(v1("virtual_machines").InspectVirtualMachineRequest(name=WEB))
    assert seen.pid == vmm_of(daemon)
    assert gemeld.MIB // 4 < seen.overhead_bytes < 16 * gemeld.MIB
    if not any(note.startswith(("memory:", "limits:")) for note in seen.notes):
        assert 32 * gemeld.MIB < seen.limits.memory_limit_bytes < 64 * gemeld.MIB
        assert seen.limits.memory_current_bytes > gemeld.MIB
    else:
        assert any("cgroup" in note or "controller" in note for note in seen.notes), seen.notes


@needs_kvm
def test_pid_is_known_after_a_restart_of_the_daemon(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    pid = vmm_of(daemon)
    daemon.kill()
    daemon.start()
    assert vmm_of(daemon) == pid
    assert stats(daemon)[0].name == WEB


@needs_kvm
def test_process_that_stops_answering_is_told_of(tmp_path):
    (tmp_path / "gemeld.toml").write_text('heartbeat_seconds = "1"\n')
    daemon = gemeld.Gemeld(tmp_path, "--config", tmp_path / "gemeld.toml").start()
    try:
        daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
        pid = vmm_of(daemon)
        os.kill(pid, signal.SIGSTOP)
        try:
            daemon.until(lambda: daemon.told("HEARTBEAT_STOPPED"), "HEARTBEAT_STOPPED")
            assert daemon.state() == "RUNNING"
            stats(daemon)  # nobody waits for the one that is silent
        finally:
            os.kill(pid, signal.SIGCONT)
        daemon.until(lambda: daemon.told("HEARTBEAT_RESUMED"), "HEARTBEAT_RESUMED")
        stopped = daemon.told("HEARTBEAT_STOPPED")[0]
        assert (stopped.resource, stopped.reason) == (WEB, "VMM_UNREACHABLE")
    finally:
        daemon.close()


# A host's disk that is full, for a machine whose disk is sparse. The mount is of a namespace of the
# daemon's own, and ends with it.
FULL = 'mount -t tmpfs -o size=256k none "$0" && exec "$@"'


@needs_kvm
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")
def test_disk_of_the_host_that_is_full_is_an_event(tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    (tmp_path / "gemeld.toml").write_text(f'[pools.default]\npath = "{pool}"\n')
    daemon = gemeld.Gemeld(tmp_path, "--config", tmp_path / "gemeld.toml")
    daemon.wrapper = ["unshare", "--mount", "sh", "-c", FULL, pool]
    daemon.start()
    try:
        words = "rw=randwrite bs=4096 qd=4 ms=60000 warm=0 settle=0 end=reset transport=mmio wait=interrupt"
        daemon.well(daemon.create(run=True, spec=with_disk(daemon, words)))
        daemon.until(lambda: daemon.told("DISK_ERROR"), "DISK_ERROR")
        event = daemon.told("DISK_ERROR")[0]
        assert (event.resource, event.reason) == (WEB, "HOST_IO_ERROR")
        assert event.message.startswith("blk0: write of 4096 bytes at ")
        assert "No space left on device" in event.message
        # The guest may have given up at the first.
        assert not stats(daemon) or stats(daemon)[0].disk_errors > 0
    finally:
        daemon.close()
