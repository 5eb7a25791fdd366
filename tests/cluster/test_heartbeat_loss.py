"""A process that answers no more is ended and its machine started again where that was asked for, so often and
not more."""

import os
import signal
import time

import gemeld_node
import pytest
from gemeld_node import gemeld, run_on_a

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")
RESTART = "ON_HEARTBEAT_LOSS_RESTART"


@pytest.fixture(name="pair")
def pair_fixture(etcd, tmp_path):
    """Nodes a and b, that ask each process every second."""
    (tmp_path / "gemeld.toml").write_text('heartbeat_seconds = "1"\n')
    with gemeld_node.pair_of(etcd, tmp_path, lambda number: ("--config", tmp_path / "gemeld.toml")) as pair:
        yield pair


def silence(node, uid):
    """Its process does not answer any more."""
    process = node.vmm(uid)
    os.kill(process, signal.SIGSTOP)
    return process


def runs_in_another(node, uid, process):
    """Whether its guest runs in a process that is not that one."""
    status = node.get().status
    try:
        return status.pid not in (0, process) and status.pid == node.vmm(uid)
    except IndexError:  # its jail is just ending
        return False


def restarts(node):
    return [event.reason for event in node.daemon.told("RESTARTED")]


def test_silent_process_is_ended_and_the_machine_started_again_until_it_was_too_often(pair):
    a, b = pair
    uid = run_on_a(pair, on_heartbeat_loss=RESTART, max_restarts=1)
    before = silence(a, uid)
    a.daemon.until(lambda: runs_in_another(a, uid, before), "another process")
    a.until("RUNNING", "a")
    b.daemon.until(lambda: restarts(b) == ["HEARTBEAT_LOST"], "what a has decided")
    assert a.daemon.told("HEARTBEAT_STOPPED") and b.jail(uid) is None
    silence(a, uid)
    found = b.until("STOPPED")
    assert found.status.reason == "TOO_MANY_RESTARTS" and "not answered" in found.status.message
    assert a.jail(uid) is None and restarts(b) == ["HEARTBEAT_LOST"]


def test_silent_process_goes_on_where_nobody_asked_for_more(pair):
    a = pair[0]
    uid = run_on_a(pair)
    process = silence(a, uid)
    a.daemon.until(lambda: a.daemon.told("HEARTBEAT_STOPPED"), "HEARTBEAT_STOPPED")
    os.kill(process, signal.SIGCONT)
    a.daemon.until(lambda: a.daemon.told("HEARTBEAT_RESUMED"), "HEARTBEAT_RESUMED")
    assert a.vmm(uid) == process and a.daemon.state() == "RUNNING"


def test_process_of_a_paused_machine_is_let_be(pair):
    a = pair[0]
    uid = run_on_a(pair, on_heartbeat_loss=RESTART)
    a.daemon.well(a.daemon.do("Pause"))
    process = silence(a, uid)
    a.daemon.until(lambda: a.daemon.told("HEARTBEAT_STOPPED"), "HEARTBEAT_STOPPED")
    time.sleep(4)
    assert a.vmm(uid) == process
    os.kill(process, signal.SIGCONT)
    a.daemon.well(a.daemon.do("Resume"))
    assert a.vmm(uid) == process


def test_asked_for_by_the_command_line_and_refused_by_field(pair):
    a = pair[0]
    words = ("--kernel", a.daemon.spec().boot.kernel, "--machine", "micro-1", "--memory", "32M")
    a.gemel("vm", "create", "web", "--project", "p", *words, "--failover", "heartbeat=restart")
    enum = gemeld.v1("virtual_machines").OnHeartbeatLoss
    assert enum.Name(a.get().spec.failover.on_heartbeat_loss) == RESTART
    a.gemel("vm", "update", "web", "--project", "p", "--failover", "heartbeat=none")
    assert enum.Name(a.get().spec.failover.on_heartbeat_loss) == "ON_HEARTBEAT_LOSS_NONE"
    said = a.try_gemel("vm", "update", "web", "--project", "p", "--failover", "stay-down,heartbeat=restart")
    assert said.returncode != 0 and "on_heartbeat_loss" in said.stderr, said
