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
        machines = [machine.Machine(folder, name) for name in "abw"]
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
    assert session_of(a).session.number >= 1  # a busy machine may lose one
    assert session_of(b).node == 2
    # The authority's key is the nodes' alone, and no secret is anybody else's to read.
    assert (a.folder / "etc/cluster/ca-key.pem").exists() and (b.folder / "etc/cluster/ca-key.pem").exists()
    assert not (w.folder / "etc/cluster/ca-key.pem").exists()
    for one in three:
        assert stat.S_IMODE((one.folder / "etc/cluster").stat().st_mode) == 0o700
        for path in (one.folder / "etc/cluster").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in w.log() + a.log() + b.log()
    # What keeps it is on the same screen: how etcd's disk does (once something was written), and the rest.
    said = a.until(lambda text: re.search(r"writes to its log within [\d.]+ ms", text),
                   lambda: a.do("members"))
    assert "feature level 3; last backup: never" in said and "ALERT" not in said, said
    # The witness is small.
    kib = sum(rss(pid) for pid in (w.pid("gemel-witness"), w.etcd_pid()))
    assert kib < 64 * 1024, f"{kib} KiB"
    certificates_are_renewed(a, w)


def certificates_are_renewed(a, w):
    """Those of 90 days are far too long for programs that want 20: a node signs its own, a witness asks."""
    life = {"GEMEL_CERTIFICATE_SECONDS": str(20 * 86400)}
    before = {one: one.certificate() for one in (a, w)}
    a.again("gemel-member", **life)
    a.until(lambda found: found != before[a], a.certificate)
    w.again("gemel-witness", **life)
    w.until(lambda found: found != before[w], w.certificate)
    # etcd of w shows the new one to whoever connects from now on, and others let it in.
    w.again("gemel-witness", **life)
    a.until(bool, lambda: all(one.lets_in(other.folder / "etc/cluster")
                              for one in (a, w) for other in (a, w)))


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1))


def test_first_nodes_keeper_learns_of_the_others(three):
    a, b, w = three
    form(a, b, w)
    a.until(lambda text: f"{w.address}:2379" in text, a.settings)
    assert session_of(a).session.number >= 1  # a busy machine may lose one
    connection = keeper.Connection(a.folder / "run/keeper.sock")
    # etcd of a is gone for good; its keeper, which began when there was no other, goes on elsewhere.
    machine.kill(a.pid("gemel-member"), machine.signal.SIGKILL)
    machine.kill(a.etcd_pid(), machine.signal.SIGKILL)
    page = connection.page or connection.open()
    moment = keeper.now_us() + 4 * keeper.T_OWN_US
    while not page.extended_beyond(moment):  # a busy machine may lose the session once
        page = connection.open()
    connection.close()


def test_what_is_refused(three):
    a, b, w = three
    assert "there is no etcd: apt install etcd-server" in a.refused(
        "init", "rack7", *a.place(etcd="/nowhere/etcd"))
    assert "not 1 to 63 of a-z" in a.refused("init", "Rack_7", *a.place())
    assert "not an address of this machine" in a.refused(
        "init", "rack7", *a.place(address="192.0.2.1"))
    a.init()
    assert "in cluster rack7 already; gemel cluster leave" in a.refused("init", "other", *a.place())
    token = a.invite()
    assert "damaged" in b.refused("join", token[:-3] + "abc", *b.place())
    assert "it is for a node: gemel cluster join" in b.refused("witness", token, *b.place())
    assert "a member has that name: choose another with --name" in b.refused(
        "join", token, *b.place(name="a"))
    # The same machine twice: it would be two votes of three.
    same = {"GEMEL_MACHINE_ID": str(a.folder / "machine-id")}
    assert "this machine is a already" in b.refused("join", token, *b.place(), **same)
    witness = a.invite("--witness")
    assert "must be a third machine" in w.refused("witness", witness, *w.place(), **same)
    # None of these used the invitation up.
    b.join(token)
    assert "was used by b" in w.refused("join", token, *w.place())
    short = a.invite("--ttl", "1s")
    assert "has expired" in w.until(lambda said: "expired" in said,
                                    lambda: w.refused("join", short, *w.place()))
    # Another server at the address that the token names.
    elsewhere = machine.Machine(a.folder / "x", "x")
    elsewhere.init("other")
    foreign = elsewhere.invite()
    elsewhere.lose_power()
    assert "no answer" in w.refused("join", foreign, *w.place())
    assert len(a.members()) == 2


def test_join_that_fails_leaves_nothing(three):
    a, b, _ = three
    a.init()
    broken = b.folder / "etcd"
    broken.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    token = a.invite()
    said = b.refused("join", token, *b.place(etcd=broken), GEMEL_FORMING_PATIENCE_MS="3000")
    assert "no vote after 3 s" in said
    assert not (b.folder / "etc/cluster").exists() and not (b.folder / "state/etcd").exists()
    a.until(lambda found: set(found) == {"a"})
    # The name is free again; the invitation is not.
    assert "was used by b" in b.refused("join", token, *b.place())
    b.join(a.invite())
    a.until(lambda found: set(found) == {"a", "b"})


def test_three_nodes_need_no_witness(three):
    a, b, c = three
    a.init()
    for node in (b, c):
        node.join(a.invite())
    found = a.until(lambda found: len(found) == 3 and all(
        state in ("votes", "leads") for _, state in found.values()))
    assert {role for role, _ in found.values()} == {"node"}
    more = machine.Machine(a.folder / "x", "x")
    assert "odd number" in more.refused("witness", a.invite("--witness"), *more.place())
    # Any of them may be lost: the others' sessions live on.
    connection = keeper.Connection(c.folder / "run/keeper.sock")
    page = connection.open()
    a.lose_power()
    moment = keeper.now_us() + 2 * keeper.T_OWN_US
    while not page.extended_beyond(moment):  # a busy machine may lose the session once
        page = connection.open()
    connection.close()


def test_node_without_a_vote(three):
    a, b, _ = three
    a.init()
    a.again("gemel-member", GEMEL_MOST_VOTES="1")  # as if it were the fifth
    assert "this node runs no etcd" in b.join(a.until(bool, lambda: a.cluster("invite")[1].strip()))
    assert not (b.folder / "state/etcd.pid").exists()
    for one in (a, b):
        one.until(lambda found: found == {"a": ("node", "leads"), "b": ("node", "no vote")}, one.members)
    assert session_of(b).node == 2
    # It takes part in all else: it may let others in, and is removed while it lives by force alone.
    b.invite()
    connection = keeper.Connection(b.folder / "run/keeper.sock")
    connection.open()
    assert "is alive" in a.refused("replace", "b")
    connection.close()
    b.do("leave", "--force")
    a.until(lambda found: set(found) == {"a"})


def test_leave_and_replace(three):
    a, b, w = three
    form(a, b, w)
    w.do("leave")
    assert not w.config.exists() and not (w.folder / "etc/cluster").exists()
    a.until(lambda found: set(found) == {"a", "b"})
    w.witness(a.invite("--witness"))
    # b is lost for good, and its machine comes back with nothing.
    assert "is alive" in a.refused("replace", "b")
    b.lose_power()
    old = b.folder / "old"
    machine.shutil.copytree(b.folder / "etc/cluster", old)
    assert a.lets_in(old)
    token = a.until(bool, lambda: a.cluster("replace", "b")[1].strip())
    for one in (a, w):
        one.until(lambda let_in: not let_in, lambda one=one: one.lets_in(old))
    for place in ("etc/cluster", "state", "run"):
        machine.shutil.rmtree(b.folder / place)
    b.config.unlink()
    b.join(token)
    a.until(lambda found: set(found) == {"a", "b", "w"} and found["b"][1] in ("votes", "leads"))
    # A number is never given twice.
    assert "node = 3" in b.settings()
    a.until(bool, lambda: a.lets_in(b.folder / "etc/cluster"))
    assert not a.lets_in(old)
    assert "last member" in alone(a, b, w)


def alone(a, b, w):
    w.do("leave")
    b.until(lambda found: len(found) == 2)
    b.do("leave")
    a.until(lambda found: len(found) == 1)
    return a.refused("leave")


def test_restore_after_the_loss_of_two(three):
    a, b, w = three
    form(a, b, w)
    assert session_of(a).session.incarnation == 1
    backup = a.folder / "backup"
    a.do("backup", backup)
    assert "last backup: 0 days ago" in a.do("members")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "is there already" in a.refused("backup", backup)
    assert "the others would go on" in a.refused("restore", backup)
    damaged = a.folder / "damaged"
    damaged.write_bytes(backup.read_bytes()[:-1])
    assert "damaged" in a.refused("restore", damaged)
    b.lose_power()
    w.lose_power()
    a.do("restore", backup, "--above", "6")
    a.until(lambda found: found.get("a", ("", ""))[1] == "leads" and len(found) == 1)
    connection = keeper.Connection(a.folder / "run/keeper.sock")
    while connection.view.incarnation < 7 or connection.view.opened == 0:
        if connection.view.wants_quiet:
            connection.quiet()
        connection.read()
    connection.close()
    # The others come anew; b gets a number that nobody had.
    for place in ("etc/cluster", "state/etcd", "run"):
        machine.shutil.rmtree(b.folder / place)
    b.config.unlink()
    b.join(a.invite())
    assert "node = 3" in b.settings()
    assert session_of(b).session.incarnation == 7
