"""Machines of gemeld with disks on a real target (tgtd on the loopback)."""

import pathlib
import socket
import struct
import sys

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1
from test_client import client_of  # noqa: F401  a fixture

sys.path.append(str(pathlib.Path(gemeld.ROOT) / "tests/integration"))
import iscsi_target  # noqa: E402

WEB = "projects/p/vms/web"
SECTORS = 64
missing = iscsi_target.missing()
pytestmark = [needs_kvm, pytest.mark.skipif(missing is not None, reason=missing or "")]


@pytest.fixture(name="target")
def one_target(tmp_path):
    target = iscsi_target.Target(tmp_path, SECTORS * 512, ("gemel", "a-long-secret")).start()
    yield target
    target.stop()


@pytest.fixture(name="daemon")
def daemon_with_targets(tmp_path, target):
    """It knows the target as "san", and as "gone" one that is not there."""
    (tmp_path / "secret").write_text("a-long-secret\n")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (tmp_path / "gemeld.toml").write_text(f"""
iscsi_initiator = "iqn.2026-11.test:n"
[iscsi_targets.san]
portal = "127.0.0.1:{target.port}"
iqn = "{iscsi_target.NAME}"
chap_user = "gemel"
chap_secret_file = "{tmp_path}/secret"
[iscsi_targets.gone]
portal = "127.0.0.1:{closed.getsockname()[1]}"
iqn = "iqn.2026-11.test:gone"
[iscsi_targets.private]
portal = "127.0.0.1:{target.port}"
iqn = "{iscsi_target.NAME}"
projects = ["q"]
""")
        daemon = gemeld.Gemeld(
            tmp_path, "--config", tmp_path / "gemeld.toml",
            environment={"GEMEL_DIAL": str(gemeld.BUILD / "helpers/dial/gemel-dial")}).start()
        yield daemon
        daemon.close()


def spec(daemon, name="san", lun=1):
    messages = v1("virtual_machines")
    made = daemon.spec("journal", "id=1", disks=[messages.DiskAttachment(
        iscsi=messages.IscsiLun(target=name, lun=lun))])
    made.machine_type = "server-1"
    return made


def refused(daemon, asked):
    with pytest.raises(grpc.RpcError) as failure:
        daemon.create(spec=asked)
    return failure.value


def failure_of(daemon, asked):
    """Why a machine that was defined well could not be started."""
    operation = daemon.wait(daemon.create(run=True, spec=asked))
    assert operation.HasField("error"), operation
    return operation.error


def written(target):
    content = target.content(0, SECTORS * 512)
    return max(struct.unpack_from("<Q", content, at * 512)[0] for at in range(SECTORS))


def writes_on(daemon, target):
    before = written(target)
    daemon.until(lambda: written(target) > before, "a write at the target")


def test_machine_writes_to_its_target_whatever_happens_to_daemon_and_target(daemon, target):
    daemon.well(daemon.create(run=True, spec=spec(daemon)))
    writes_on(daemon, target)
    initiators = target.must("--op", "show", "--mode", "conn", "--tid", "1")
    assert f"iqn.2026-11.test:n:{daemon.get().uid}" in initiators
    daemon.kill()
    writes_on(daemon, target)
    target.kill()
    target.start()
    writes_on(daemon, target)
    daemon.start()
    assert daemon.state() == "RUNNING"
    writes_on(daemon, target)
    daemon.well(daemon.do("Stop"))
    stopped_at = written(target)
    daemon.well(daemon.do("Start"))
    writes_on(daemon, target)
    assert written(target) > stopped_at
    assert "a-long-secret" not in daemon.log()
    for entry in daemon.processes():
        assert "a-long-secret" not in " ".join(entry[1])


def test_what_cannot_be_is_refused_when_it_is_defined(daemon):
    field = "virtual_machine.spec.disks[0].iscsi"
    error = refused(daemon, spec(daemon, "sam"))
    assert gemeld.fields_of(error) == [f"{field}.target"]
    assert "\"sam\" is none of this node's iSCSI targets for project p: gone, san" in error.details()
    error = refused(daemon, spec(daemon, "private"))
    assert "\"private\" is none" in error.details()
    assert gemeld.fields_of(refused(daemon, spec(daemon, lun=16384))) == [f"{field}.lun"]
    daemon.well(daemon.create(spec=spec(daemon)))
    error = refused(daemon, spec(daemon))
    assert error.code() == grpc.StatusCode.ALREADY_EXISTS
    with pytest.raises(grpc.RpcError) as failure:
        daemon.create("db", spec=spec(daemon))
    assert gemeld.reason_of(failure.value) == "RESOURCE_IN_USE"
    assert f"LUN 1 of san is a disk of {WEB}" in failure.value.details()


def test_what_is_wrong_at_a_start_is_named(daemon):
    error = failure_of(daemon, spec(daemon, "gone"))
    assert "iqn.2026-11.test:gone" in error.message and "Connection refused" in error.message
    error = failure_of(daemon, spec(daemon, lun=7))
    assert f"/{iscsi_target.NAME}/7: " in error.message, error
    (daemon.folder / "secret").unlink()
    error = failure_of(daemon, spec(daemon))
    assert "password-file" in error.message and str(daemon.folder / "secret") in error.message, error
    (daemon.folder / "secret").write_text("another-secret\n")
    error = failure_of(daemon, spec(daemon))
    assert iscsi_target.NAME in error.message and "another-secret" not in error.message, error


def test_command_line_attaches_a_lun(client, daemon):
    client.ok("vm", "create", "web", "--kernel", f"{gemeld.GUESTS}/guest-journal", "--disk",
              "iscsi=san/1,readonly")
    disk, = daemon.get().spec.disks
    assert (disk.iscsi.target, disk.iscsi.lun, disk.read_only, disk.disk) == ("san", 1, True, "")
    assert "iscsi=TARGET/LUN" in client.fails(2, "vm", "create", "db", "--kernel", "k",
                                              "--disk", "iscsi=san")
    assert "gone, san" in client.fails(2, "vm", "update", "web", "--disk", "iscsi=sam/0")
