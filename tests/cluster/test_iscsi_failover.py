"""A machine whose disk is on a real target (tgtd) is failed over: claimed for its epoch before it starts,
and whatever an earlier owner still has under way is refused by the target, however late it comes."""

import os
import pathlib
import signal
import struct
import sys

import keeper
import node
import pytest
from held_link import Link

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import iscsi_target  # noqa: E402

missing = iscsi_target.missing()
pytestmark = [pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                 reason="/dev/kvm is missing or not ours: no guest can run"),
              pytest.mark.skipif(missing is not None, reason=missing or "")]


class TargetPair(node.Pair):
    """Each node has a cable of its own to the target."""

    def __init__(self, etcd, folder):
        self.target = iscsi_target.Target(folder, node.SECTORS * 512).start()
        self.links = [Link(self.target.port) for _ in range(2)]
        super().__init__(etcd, folder)

    def disk_of(self, number):
        return f"iscsi://127.0.0.1:{self.links[number - 1].port}/{iscsi_target.NAME}/1"

    def records(self):
        """(number, node that wrote it) of each sector."""
        content = self.target.content(0, node.SECTORS * 512)
        return [struct.unpack_from("<QQ", content, at * 512) for at in range(node.SECTORS)]

    def close(self):
        super().close()
        for link in self.links:
            link.close()
        self.target.stop()


@pytest.fixture(name="pair")
def pair_fixture(etcd, tmp_path):
    pair = TargetPair(etcd, tmp_path)
    yield pair
    pair.close()


def test_node_loses_power_the_other_takes_the_disk_and_goes_on(pair):
    pair.b.want("run")
    console = pair.a.console()
    console.number("ack")
    pair.a.lose_power()
    acknowledged = console.last()
    pair.b.until(process="running", record="running", owner=2)
    assert pair.b.console().number("begin") > acknowledged > 0
    assert pair.b.console().number("ack") > acknowledged


def test_write_that_was_held_in_the_network_is_refused_by_the_target(pair):
    link = pair.links[0]
    pair.until_written_beyond(0)
    link.hold()
    pair.until(link.holds, "a write that is held")
    pair.b.want("run")
    pair.a.lose_power()
    pair.b.until(process="running", record="running", owner=2)
    console = pair.b.console()
    begin = console.number("begin")
    console.number("ack")
    link.deliver()
    assert link.until_conflict(keeper.PATIENCE), link.statuses
    console.number("ack")
    late = [number for number, writer in pair.records() if writer == 1 and number >= begin]
    assert not late, (begin, pair.records())


def test_majority_lost_machine_goes_on_in_its_process_under_another_epoch(pair):
    pair.b.want("leave")
    assert any(goes_on_in_its_process(pair) for _ in range(3))


def goes_on_in_its_process(pair):
    pair.a.until(live=1, process="running", record="running")
    pair.until_written_beyond(pair.written())
    process = pair.a.vmm()
    pair.etcd.freeze(0, 1)
    pair.a.until(process="latched")
    pair.etcd.thaw(0, 1)
    pair.a.until(live=1, process="running", record="running")
    pair.until_written_beyond(pair.written())
    assert int(pair.a.state["epoch"]) >= 2
    try:
        return pair.a.vmm() == process
    except IndexError:
        return False


def test_target_that_was_restarted_is_claimed_anew_under_another_epoch(pair):
    pair.until_written_beyond(0)
    epoch = int(pair.a.state["epoch"])
    pair.target.kill()
    pair.target.start()
    # It forgets reservations; whoever reconnects must not go on as if it had not.
    while int(pair.a.until(process="running", record="running")["epoch"]) <= epoch:
        pair.a.line()
    pair.until_written_beyond(pair.written())
    assert pair.a.state["owner"] == "1"


def test_target_away_during_a_take_over_nothing_starts_until_it_is_back(pair):
    pair.b.want("run")
    console = pair.a.console()
    console.number("ack")
    pair.target.kill()
    pair.a.lose_power()
    acknowledged = console.last()
    pair.b.until(record="fencing", owner=2)
    assert pair.b.state["process"] == "none"
    pair.target.start()
    pair.b.until(process="running", record="running", owner=2)
    assert pair.b.console().number("begin") > acknowledged > 0


def test_daemon_killed_and_begun_anew_machine_writes_on(pair):
    pair.until_written_beyond(0)
    process = pair.a.vmm()
    pair.a.kill()
    pair.until_written_beyond(pair.written())
    pair.a.start()
    pair.a.until(live=1, process="running", record="running", epoch=1)
    assert pair.a.vmm() == process
    pair.until_written_beyond(pair.written())


def test_frozen_owner_that_wakes_after_the_other_has_begun_ends(pair):
    pair.b.want("run")
    pair.until_written_beyond(0)
    pids = [pair.a.process.pid, pair.keepers[0].process.pid, pair.a.vmm()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    pair.b.until(process="running", record="running", owner=2)
    begin = pair.b.console().number("begin")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    pair.a.until(process="none")
    assert pair.b.console().number("ack") >= begin
    assert not [n for n, writer in pair.records() if writer == 1 and n >= begin]
