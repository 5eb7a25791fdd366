"""Tests of a host with systemd as PID 1."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kvmhost  # noqa: E402


@pytest.fixture(scope="module")
def host():
    with kvmhost.Lab(systemd=True, disk="256M") as lab:
        yield lab.host(1)


def test_systemd_is_pid_1_and_no_unit_failed(host):
    assert host.run(["cat", "/proc/1/comm"]).stdout == b"systemd\n"
    assert host.run(["systemctl", "is-system-running"]).stdout == b"running\n"


def test_callers_files_are_at_their_paths(host, tmp_path):
    (tmp_path / "seen").write_text("inside")
    assert host.run(["cat", str(tmp_path / "seen")]).stdout == b"inside"


def test_callers_programs_run(host):
    done = host.run(["git", "--version"])
    assert done.returncode == 0, done.stderr


def test_unit_of_the_tests_own_is_started_and_stopped(host):
    unit = "[Service]\\nExecStart=/bin/sleep 1000\\nDelegate=yes\\n"
    host.run(["sh", "-c", f"printf '{unit}' > /etc/systemd/system/own.service"], check=True)
    host.run(["systemctl", "daemon-reload"], check=True)
    host.run(["systemctl", "start", "own"], check=True)
    assert host.run(["systemctl", "is-active", "own"]).stdout == b"active\n"
    host.run(["systemctl", "stop", "own"], check=True)
    assert host.run(["systemctl", "is-active", "own"]).stdout == b"inactive\n"


def test_transient_scope_under_a_slice_is_possible(host):
    done = host.run(["systemd-run", "--scope", "--slice=gemel.slice", "cat", "/proc/self/cgroup"])
    assert b"/gemel.slice/" in done.stdout, done.stderr


def test_orderly_power_off_keeps_the_disk(host):
    host.run(["sh", "-c", "echo kept > /disk/file"], check=True)
    host.power_off()
    assert host.state == kvmhost.OFF
    host.power_on()
    assert host.run(["cat", "/disk/file"]).stdout == b"kept\n"
