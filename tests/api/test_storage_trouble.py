"""A full disk under the daemon's state, and a damaged database: reported, and no machine is harmed."""

import os
import subprocess

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1
from test_consoles import Session

WEB = "projects/p/vms/web"
pytestmark = needs_kvm


@pytest.fixture(name="small")
def daemon_on_a_small_disk(tmp_path):
    """Its state is on 16 MiB, and a machine of it runs."""
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", state], check=True)
    daemon = gemeld.Gemeld(tmp_path)
    try:
        daemon.start()
        daemon.well(daemon.create(run=True, spec=daemon.spec("console", "echo")))
        yield daemon
        (state / "filler").unlink(missing_ok=True)
        daemon.close()
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def fill(daemon):
    with open(daemon.state_dir / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        try:
            while True:
                file.write(bytes(1))
        except OSError:
            pass


def make_room(daemon):
    (daemon.state_dir / "filler").unlink()


def is_well(daemon):
    """The machine runs, and its guest answers."""
    assert daemon.state() == "RUNNING"
    session = Session(daemon, write=True, take_over=True, follow=True)
    session.send(input=b"still here")
    assert b"still here" in session.text(b"still here")
    session.close()


def refused(call):
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return failure.value


def create_until_refused(daemon):
    """What room the database has within its files is used up first."""
    for number in range(2000):
        try:
            daemon.create(f"more-{number}")
        except grpc.RpcError as error:
            return number, error
    raise AssertionError("a full disk refuses nothing")


def test_full_disk_refuses_changes_and_harms_nothing(small):
    fill(small)
    number, error = create_until_refused(small)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    assert gemeld.reason_of(error) == "STORE_FAILED"
    names = sorted(vm.name for vm in small.list())
    assert names == sorted([WEB] + [f"projects/p/vms/more-{one}" for one in range(number)])
    is_well(small)
    error = refused(lambda: small.do("Stop"))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    is_well(small)
    node = small.nodes.Get(v1("nodes").GetNodeRequest(name="nodes/n"))
    assert "full" in str(node).lower() or "space" in str(node).lower(), node
    make_room(small)
    small.well(small.create("after"))
    small.well(small.do("Stop"))


def test_end_on_a_full_disk_is_known_once_there_is_room(small):
    fill(small)
    create_until_refused(small)
    session = Session(small, write=True, follow=True)
    session.send(input=b"Q")  # the guest switches itself off
    session.until(lambda *_: False)
    make_room(small)
    small.until(lambda: small.state() == "STOPPED", "the end to be stored")
    reason = small.get().status.last_exit.reason
    assert v1("virtual_machines").ExitReason.Name(reason) == "EXIT_REASON_GUEST_POWER_OFF"


def test_daemon_killed_on_a_full_disk_finds_its_machines(small):
    fill(small)
    create_until_refused(small)
    before = small.processes()
    small.kill()
    small.start(wait=False)
    small.until(lambda: small.process.poll() is not None or "ready: " in small.log().split(
        "error")[-1], "the daemon to start or to say why not")
    assert small.processes() == before or small.process.poll() is None
    if small.process.poll() is None:
        small.end(9)
    make_room(small)
    small.start()
    is_well(small)
    assert small.processes() == before


@pytest.mark.parametrize("damage", ["overwritten", "cut", "emptied"])
def test_damaged_database_is_reported_and_harms_no_machine(tmp_path, damage):
    daemon = gemeld.Gemeld(tmp_path).start()
    daemon.well(daemon.create(run=True, spec=daemon.spec("console", "echo")))
    before = daemon.processes()
    daemon.stop()  # which leaves no write-ahead log
    database = daemon.state_dir / "gemeld.db"
    good = database.read_bytes()
    bad = {"overwritten": good[:4096] + os.urandom(4096) + good[8192:], "cut": good[:5000],
           "emptied": b"\0" * len(good)}[damage]
    database.write_bytes(bad)
    daemon.start(wait=False)
    assert daemon.process.wait(timeout=gemeld.DEADLINE) == 1
    assert str(database) in daemon.log()
    assert database.read_bytes() == bad
    assert daemon.processes() == before
    database.write_bytes(good)
    daemon.start()
    is_well(daemon)
    assert daemon.processes() == before
    daemon.close()
