"""A machine whose disk refuses nobody, a file that both nodes have: after the loss of its node it waits until
that is proved to be off."""

import json
import os
import pty
import signal
import subprocess
import time

import gemeld_node
import grpc
import keeper
import members
import pytest
from gemeld_node import gemeld

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")
SECTORS = 64
LONG = 4  # seconds, in which a machine that may be taken over is


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    """The file."""
    disk = tmp_path / "shared.raw"
    disk.write_bytes(bytes(SECTORS * 512))
    return disk


def give_disk(node, disk):
    messages = gemeld.v1("disks")
    node.daemon.well(node.daemon.disks.Create(messages.CreateDiskRequest(
        parent="projects/p", disk_id="db", disk=messages.Disk(block_device=str(disk)))))


def words_of(folder, disk):
    def words(number):
        file = folder / f"gemeld{number}.toml"
        file.write_text(f'block_devices = ["{disk}"]\n')
        return "--config", file
    return words


@pytest.fixture(name="pair")
def pair_fixture(etcd, tmp_path, disk):
    """Nodes a and b; the machine runs on a and writes to the file."""
    with gemeld_node.pair_of(etcd, tmp_path, words_of(tmp_path, disk)) as nodes:
        run_on_a(nodes, disk)
        yield nodes


def run_on_a(nodes, disk):
    a, b = nodes
    for node in nodes:
        give_disk(node, disk)
    messages = gemeld.v1("virtual_machines")
    shared = messages.DiskAttachment(disk="projects/p/disks/db", direct=True)
    spec = a.daemon.spec("journal", "pace=5", disks=[shared],
                         failover=messages.FailoverSpec(preferred_node="nodes/a"))
    spec.machine_type = "server-1"  # a disk on PCI
    a.daemon.well(a.daemon.create(run=True, spec=spec))
    b.until("RUNNING", "a")


def lose_a(pair):
    """What it had acknowledged, once b says that it waits for a proof."""
    a, b = pair
    console = a.console(a.get().uid)
    console.number("ack")
    a.lose_power()
    b.daemon.until(lambda: b.get().status.reason == "NOT_PROVED_OFF")
    return console.last()


def status(node):
    messages = gemeld.v1("clusters")
    return node.daemon.stub("clusters", "Clusters").GetStatus(
        messages.GetStatusRequest(name="clusters/-"))


def node_of(node, name):
    return next(one for one in status(node).nodes if one.name == f"nodes/{name}")


def confirm(node, *more):
    return node.try_gemel("cluster", "confirm-dead", "a", "--reason", "no light, no fan", *more)


def events(node):
    messages = gemeld.v1("events")
    found = node.daemon.events.List(messages.ListEventsRequest(parent="", page_size=1000)).events
    return [(gemeld.v1("events").EventType.Name(event.type).removeprefix("EVENT_TYPE_"), event.reason)
            for event in found]


def test_lost_node_is_waited_for_until_somebody_says_that_it_is_off(pair, etcd):
    a, b = pair
    uid, acknowledged = a.get().uid, lose_a(pair)
    time.sleep(LONG)
    assert b.jail(uid) is None
    assert ("WAITING", "NOT_PROVED_OFF") in events(b)
    assert "gemel cluster confirm-dead a" in b.gemel("cluster", "explain", "--project", "p", "web")
    refused = confirm(b)
    assert refused.returncode == 2 and "--yes-a-is-off" in refused.stderr, refused
    refused = confirm(b, "--yes-b-is-off")
    assert refused.returncode == 2 and "this is about a" in refused.stderr, refused
    assert b.jail(uid) is None
    assert "off, as you say" in b.gemel("cluster", "confirm-dead", "a", "--reason", "no light",
                                        "--yes-a-is-off")
    b.until("RUNNING", "b")
    assert b.console(uid).number("begin") > acknowledged > 0
    assert "off (person)" in b.gemel("cluster", "status")
    assert "says that nodes/a is off" in b.gemel("cluster", "explain", "--project", "p", "web")
    told = [("NODE_OFF", "CONFIRMED_DEAD"), ("FENCED", "CONFIRMED_DEAD"), ("TAKEN_OVER", "NODE_LOST")]
    b.daemon.until(lambda: all(one in events(b) for one in told))
    lines = [json.loads(line) for line in (b.daemon.state_dir / "audit.log").read_text().splitlines()]
    assert [line["resource"] for line in lines
            if line["method"].endswith("Clusters/ConfirmNodeDead")] == ["nodes/a"], lines
    kept = etcd.call("kv/range", {"key": members.text("/gemel/cluster/overrides/"),
                                  "range_end": members.text("/gemel/cluster/overrides0")})
    assert len(kept["kvs"]) == 1
    a.start()
    a.until("RUNNING", "b")
    b.daemon.until(lambda: node_of(b, "a").live)
    assert node_of(b, "a").off_by == "" and a.jail(uid) is None


def test_node_that_lives_is_not_confirmed_dead(pair):
    a, b = pair
    refused = confirm(b, "--yes-a-is-off")
    assert refused.returncode != 0
    assert "has a session that lives" in refused.stderr and "gemel node drain a" in refused.stderr
    assert node_of(b, "a").off_by == ""
    refused = confirm(a, "--yes-a-is-off")
    assert refused.returncode != 0 and "answers this call" in refused.stderr
    a.until("RUNNING", "a")


def test_word_is_of_the_session_that_was_lost(pair):
    a, b = pair
    uid = a.get().uid
    lose_a(pair)
    messages = gemeld.v1("clusters")
    clusters = b.daemon.stub("clusters", "Clusters")

    def say(**fields):
        with pytest.raises(grpc.RpcError) as refused:
            clusters.ConfirmNodeDead(messages.ConfirmNodeDeadRequest(name="nodes/a", **fields))
        return refused.value
    assert gemeld.fields_of(say(reason="x")) == ["session"]
    assert gemeld.fields_of(say(session="1.1")) == ["reason"]
    assert gemeld.reason_of(say(session="1.9", reason="x")) == "CHANGED_MEANWHILE"
    assert b.jail(uid) is None
    clusters.ConfirmNodeDead(messages.ConfirmNodeDeadRequest(
        name="nodes/a", session=node_of(b, "a").session, reason="x"))
    b.until("RUNNING", "b")


def test_name_is_typed_on_a_terminal(pair):
    a, b = pair
    uid = a.get().uid
    lose_a(pair)
    for typed, status_of in ((b"yes\n", 1), (b"a\n", 0)):
        assert b.jail(uid) is None
        ours, theirs = pty.openpty()
        with subprocess.Popen(b.command("cluster", "confirm-dead", "a", "--reason", "x"),
                              stdin=theirs, stdout=theirs, stderr=theirs) as command:
            os.close(theirs)
            seen = b""
            while b"to be off: " not in seen:
                seen += os.read(ours, 4096)
            assert b"web" in seen, seen
            os.write(ours, typed)
            assert (command.wait(keeper.PATIENCE) != 0) == (status_of != 0), seen
        os.close(ours)
    b.until("RUNNING", "b")


def test_node_that_was_only_cut_off_goes_on_where_it_stood(pair):
    a, b = pair
    uid = a.get().uid
    process = a.vmm(uid)
    a.keeper.signal(signal.SIGSTOP)
    b.daemon.until(lambda: b.get().status.reason == "NOT_PROVED_OFF")
    a.keeper.signal(signal.SIGCONT)
    b.until("RUNNING", "a")
    a.until("RUNNING", "a")
    assert a.vmm(uid) == process and b.jail(uid) is None


AGENT = """#!/bin/sh
# A fence agent by the stdin protocol. What it fences is the processes in the file "pids".
while read -r line; do
  case $line in
    action=*) action=${line#action=} ;;
    folder=*) folder=${line#folder=} ;;
  esac
done
echo "$action" >>"$folder/calls"
. "$folder/behaviour"
case $action in
  # Whose jail has died is gone already: off is off.
  off) for pid in $(cat "$folder/pids"); do kill -9 "$pid" 2>/dev/null; done; exit 0 ;;
  status)
    for pid in $(cat "$folder/pids"); do
      grep -q '^State:[[:space:]]*[ZX]' "/proc/$pid/status" 2>/dev/null || [ ! -e "/proc/$pid" ] || exit 0
    done
    exit 2 ;;
  *) exit 1 ;;
esac
"""


class Agent:
    """Of node b, for node a."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.path = folder / "fence_processes"
        self.path.write_text(AGENT)
        self.path.chmod(0o755)
        (folder / "pids").write_text("")
        self.behave("")

    def behave(self, lines):
        (self.folder / "behaviour").write_text(lines + "\n")

    def calls(self):
        file = self.folder / "calls"
        return file.read_text().split() if file.exists() else []

    def config(self):
        return (f'[fence_agents.a]\nagent = "{self.path}"\nuser = "root"\ntimeout = "2"\n'
                f'options.folder = "{self.folder}"\n')

    def freeze(self, node):
        """All of the node's processes stand still; the agent knows them."""
        pids = [node.keeper.process.pid, node.daemon.process.pid,
                *(pid for pid, _ in node.daemon.processes())]
        (self.folder / "pids").write_text(" ".join(map(str, pids)))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids


@pytest.fixture(name="fenced")
def fenced_fixture(etcd, tmp_path, disk):
    """Nodes a and b, of which b has an agent for a; the machine runs on a."""
    agent = Agent(tmp_path / "agent")
    plain = words_of(tmp_path, disk)

    def words(number):
        found = plain(number)
        if number == 2:
            with open(found[1], "a", encoding="utf-8") as file:
                file.write(agent.config())
        return found
    with gemeld_node.pair_of(etcd, tmp_path, words) as nodes:
        run_on_a(nodes, disk)
        yield (*nodes, agent)


def test_agent_kills_a_node_that_hangs_and_its_machine_starts_by_itself(fenced):
    a, b, agent = fenced
    uid = a.get().uid
    console = a.console(uid)
    acknowledged = console.number("ack")
    assert "off (agent)" in b.gemel("cluster", "status")
    agent.freeze(a)
    b.until("RUNNING", "b")
    assert agent.calls()[-2:] == ["off", "status"]  # on a busy machine not at the first try
    assert b.console(uid).number("begin") > acknowledged
    told = [("NODE_OFF", "FENCE_AGENT"), ("FENCED", "FENCE_AGENT")]
    b.daemon.until(lambda: all(one in events(b) for one in told))
    assert node_of(b, "a").off_by == "agent"


@pytest.mark.parametrize("behaviour,says", [
    ("test $action = off && exit 0", "status: says that it is on"),
    ("echo Unable to connect; exit 1", "ended with status 1: Unable to connect"),
    ("sleep 600", "did not end within 2 s"),
])
def test_agent_that_does_not_switch_it_off_is_tried_again_and_nothing_starts(fenced, behaviour, says):
    a, b, agent = fenced
    uid = a.get().uid
    agent.behave(behaviour)
    agent.freeze(a)
    b.daemon.until(lambda: says in b.get().status.message)
    assert b.get().status.reason == "NOT_PROVED_OFF"
    b.daemon.until(lambda: ("FENCE_FAILED", "FENCE_AGENT_FAILED") in events(b))
    b.daemon.until(lambda: agent.calls().count("off") >= 2)
    assert b.jail(uid) is None
    agent.behave("")
    b.until("RUNNING", "b")


def test_agent_is_asked_whether_it_answers(fenced):
    a, b, agent = fenced
    agent.freeze(a)
    for pid in (agent.folder / "pids").read_text().split():
        os.kill(int(pid), signal.SIGCONT)
    assert "a: on, says the fence agent of b" in b.gemel("cluster", "fence", "test", "a")
    messages = gemeld.v1("clusters")
    said = b.daemon.stub("clusters", "Clusters").TestFence(messages.TestFenceRequest(name="nodes/a"))
    assert (said.node, said.power, said.message) == ("nodes/b", "on", "")
    assert agent.calls() == ["status"] * 2
    failed = a.try_gemel("cluster", "fence", "test", "b")
    assert failed.returncode != 0 and "fence_agents.b" in failed.stderr, failed
    agent.behave("echo broken >&2; exit 7")
    failed = b.try_gemel("cluster", "fence", "test", "a")
    assert failed.returncode != 0 and "broken" in failed.stderr, failed
    a.until("RUNNING", "a")
