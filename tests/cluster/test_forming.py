"""Forming a cluster with `gemel cluster`, real members of etcd and real keepers, on three machines that
are folders and addresses of this one."""

import os
import pathlib
import re
import stat
import tempfile

import keeper
import machine
import pytest


@pytest.fixture(name="three")
def three_fixture():
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gemel-form-", dir=memory) as folder:
        machines = [machine.Machine(folder, i + 1, name) for i, name in enumerate("abw")]
        yield machines
        for one in machines:
            one.close()


def form(a, b, w):
    a.init()
    b.join(a.invite())
    w.witness(a.invite("--witness"))
    return a.until(lambda found: len(found) == 3 and all(
        state in ("votes", "leads") for _, state in found.values()))


def session_of(one):
    """The view of its keeper once it has a session, with nothing that runs here."""
    connection = keeper.Connection(one.folder / "run/keeper.sock")
    try:
        connection.open()
        return connection.view
    finally:
        connection.close()


def test_three_machines_become_a_cluster(three):
    a, b, w = three
    found = form(a, b, w)
    assert {name: role for name, (role, _) in found.items()} == {"a": "node", "b": "node", "w": "witness"}
    # All files know all members, the own one first.
    for one in three:
        one.until(lambda text: all(f"{other.address}:2379" in text for other in three), one.settings)
        first = re.search(r'endpoints = \["([^"]+)"', one.settings()).group(1)
        assert first == f"{one.address}:2379"
    # Keepers of both nodes have sessions with what was written.
    assert session_of(a).session.number == 1
    assert session_of(b).node == 2
    # The authority's key is the nodes' alone, and no secret is anybody else's to read.
    assert (a.folder / "etc/cluster/ca-key.pem").exists() and (b.folder / "etc/cluster/ca-key.pem").exists()
    assert not (w.folder / "etc/cluster/ca-key.pem").exists()
    for one in three:
        assert stat.S_IMODE((one.folder / "etc/cluster").stat().st_mode) == 0o700
        for path in (one.folder / "etc/cluster").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in w.log() + a.log() + b.log()
    # The witness is small.
    kib = sum(rss(pid) for pid in (w.pid("gemel-witness"), w.etcd_pid()))
    assert kib < 64 * 1024, f"{kib} KiB"


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1))
