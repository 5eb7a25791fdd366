"""gemeld in the emulated host: a stock Debian through its API, and what needs cgroup v2, which the machine
that runs ./check may not have. Each is a pytest of its own in the host."""

import subprocess

import pytest
from conftest import BUILD, ROOT

# Of a host that is ten times as slow, in seconds.
DEADLINE = 900


@pytest.fixture(scope="session", name="small_disk")
def debian_made_small(debian, tmp_path_factory):
    """Debian's disk without its free space: what a person would upload."""
    disk = tmp_path_factory.mktemp("small") / "small.img"
    subprocess.run(["cp", "--sparse=always", debian / "disk.img", disk], check=True)
    subprocess.run(["/usr/sbin/e2fsck", "-fp", disk], check=False, capture_output=True)
    subprocess.run(["/usr/sbin/resize2fs", "-M", disk], check=True, capture_output=True)
    yield disk
    disk.unlink()


def pass_there(host, *words, count, **variables):
    """That so many tests pass there, and none is skipped."""
    command = ["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider",
               "--basetemp", "/disk/pytest", *words]
    done = host.run(command, cwd=str(ROOT), timeout=4 * DEADLINE, env={
        "GEMEL_BUILD": str(BUILD), "GEMEL_DEADLINE": str(DEADLINE), "HOME": "/root", **variables})
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-8000:]
    assert f"{count} passed" in said and "skipped" not in said.splitlines()[-1], said[-8000:]


def test_debian_from_upload_to_delete(host, debian, small_disk):
    pass_there(host, "tests/api/test_debian.py", count=1, GEMEL_DEBIAN=str(debian),
               GEMEL_SMALL_DISK=str(small_disk))


def test_limits_of_machines_are_in_force_and_hold(host):
    pass_there(host, "tests/api/test_limits.py", count=5)


def test_groups_of_supervisor_and_jail(host):
    pass_there(host, "tests/integration/test_supervisor.py", "-k", "limits or memory_limit", count=2)
    pass_there(host, "tests/integration/test_jail.py", "-k", "control_group", count=2)


def test_vlans_keep_machines_apart(host):
    """What the kernel of the machine that runs ./check may not have either."""
    pass_there(host, "tests/integration/test_hostnet_bridge.py", "-k", "tags_keep", count=1)
    pass_there(host, "tests/api/test_networks.py", "-k", "tags_keep", count=1)
