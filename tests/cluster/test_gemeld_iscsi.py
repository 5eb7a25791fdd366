"""gemeld fails over a machine whose disk is on a real target (tgtd): its data is there on the other node,
what the lost one still has under way is refused, and without the target nothing starts."""

import os
import pathlib
import re
import struct
import sys
import urllib.request

import gemeld_node
import keeper
import pytest
from gemeld_node import gemeld
from held_link import Link

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import iscsi_target  # noqa: E402

SECTORS = 64
missing = iscsi_target.missing()
pytestmark = [pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                 reason="/dev/kvm is missing or not ours: no guest can run"),
              pytest.mark.skipif(missing is not None, reason=missing or "")]


class SharedDisk:
    """A target, and a cable of each node to it."""

    def __init__(self, folder):
        self.folder = folder
        self.target = iscsi_target.Target(folder, SECTORS * 512).start()
        self.links = [Link(self.target.port) for _ in range(2)]
        self.metrics = f"127.0.0.1:{iscsi_target.free_port()}"  # of a

    def words_of(self, number):
        """Of the gemeld of a node: both call the target "san"."""
        file = self.folder / f"gemeld{number}.toml"
        listen = f'metrics.listen = "{self.metrics}"' if number == 1 else ""
        file.write_text(f"""{listen}
[iscsi_targets.san]
portal = "127.0.0.1:{self.links[number - 1].port}"
iqn = "{iscsi_target.NAME}"
""")
        return "--config", file

    def numbers(self):
        content = self.target.content(0, SECTORS * 512)
        return [struct.unpack_from("<Q", content, at * 512)[0] for at in range(SECTORS)]

    def close(self):
        for link in self.links:
            link.close()
        self.target.stop()


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    disk = SharedDisk(tmp_path)
    yield disk
    disk.close()


@pytest.fixture(name="pair")
def pair_fixture(etcd, tmp_path, disk):
    """Nodes a and b; the machine runs on a."""
    with gemeld_node.pair_of(etcd, tmp_path, disk.words_of) as nodes:
        a, b = nodes
        messages = gemeld.v1("virtual_machines")
        lun = messages.DiskAttachment(iscsi=messages.IscsiLun(target="san", lun=1))
        spec = a.daemon.spec("journal", "pace=5", disks=[lun],
                             failover=messages.FailoverSpec(preferred_node="nodes/a"))
        spec.machine_type = "server-1"  # a disk on PCI
        a.daemon.well(a.daemon.create(run=True, spec=spec))
        b.until("RUNNING", "a")
        yield nodes


def machine_of(node):
    """As the cluster's status has it on that node."""
    messages = gemeld.v1("clusters")
    clusters = node.daemon.stub("clusters", "Clusters")
    return clusters.GetStatus(messages.GetStatusRequest(name="clusters/-")).machines[0]


def shown(disk):
    """What a's /metrics shows of the cluster."""
    with urllib.request.urlopen(f"http://{disk.metrics}/metrics", timeout=keeper.PATIENCE) as answer:
        return [line for line in answer.read().decode().splitlines() if "gemel_cluster_" in line]


def metrics_in(file):
    return set(re.findall(r"\bgemel_cluster_\w+", (keeper.ROOT / file).read_text()))


def test_held_write_of_a_lost_node_is_refused_and_its_data_is_there_on_the_other(pair, disk):
    a, b = pair
    uid = a.get().uid
    console = a.console(uid)
    console.number("ack")
    disk.links[0].hold()
    a.daemon.until(disk.links[0].holds)
    a.lose_power()
    acknowledged = console.last()
    b.until("RUNNING", "b")
    console = b.console(uid)
    begin = console.number("begin")
    assert begin > acknowledged > 0
    while console.number("ack") < begin + SECTORS:  # what was held was for one of these sectors
        pass
    disk.links[0].deliver()
    assert disk.links[0].until_conflict(keeper.PATIENCE), disk.links[0].statuses
    console.number("ack")
    assert min(disk.numbers()) >= begin, disk.numbers()
    a.start()
    a.until("RUNNING", "b")
    assert a.jail(uid) is None


def test_target_away_during_a_take_over_nothing_starts_until_it_is_back(pair, disk):
    a, b = pair
    uid = a.get().uid
    console = a.console(uid)
    console.number("ack")
    disk.target.kill()
    a.lose_power()
    acknowledged = console.last()
    b.daemon.until(lambda: machine_of(b).record == "fencing" and machine_of(b).owner == "nodes/b")
    assert b.jail(uid) is None
    disk.target.start()
    b.until("RUNNING", "b")
    assert b.console(uid).number("begin") > acknowledged > 0


def test_strength_of_the_fence_is_shown_and_alerts_have_their_metrics(pair, disk):
    assert "scsi-pr (weaker)" in pair[0].gemel("cluster", "status")
    pair[0].daemon.until(lambda: any("member_answers" in line for line in shown(disk)))
    lines = shown(disk)
    assert any('vm="web"' in line and 'fence="scsi-pr (weaker)"' in line for line in lines), lines
    names = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    names |= {"gemel_cluster_clock_rate"}  # takes two minutes
    assert metrics_in("docs/GEMELD.md") == names
    assert metrics_in("packaging/prometheus/gemel.rules.yml") <= names


def test_target_that_was_restarted_is_claimed_anew_by_the_same_node(pair, disk):
    a, _ = pair
    uid = a.get().uid
    a.console(uid).number("ack")
    epoch = machine_of(a).epoch
    disk.target.kill()
    disk.target.start()
    a.daemon.until(lambda: machine_of(a).epoch != epoch and machine_of(a).record == "running")
    a.until("RUNNING", "a")
    written = max(disk.numbers())
    a.daemon.until(lambda: max(disk.numbers()) > written)
