"""Machines of the cluster's that somebody has paused: they keep node, epoch and process, whichever node is
asked, at the latch too; and nobody starts one that was lost before it is resumed."""

import os
import time

import gemeld_node
import grpc
import pytest
from gemeld_node import gemeld, run_on_a

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")
ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(name="asking")
def asking_fixture(tmp_path):
    """Nodes a and b that ask each other."""
    with gemeld_node.pair_that_asks(tmp_path) as pair:
        yield pair


@pytest.fixture(name="pair")
def pair_fixture(etcd, tmp_path):
    """Nodes a and b."""
    with gemeld_node.pair_of(etcd, tmp_path) as pair:
        yield pair


# What its thread may have run for without its guest: the timer of the latch (docs/FAILOVER.md).
AT_REST_NS = 10_000_000


def expect_still(node, uid):
    ran = node.vcpu_ran_ns(uid)
    time.sleep(0.5)
    assert node.vcpu_ran_ns(uid) - ran < AT_REST_NS


def expect_running(node, uid):
    ran = node.vcpu_ran_ns(uid)
    node.daemon.until(lambda: node.vcpu_ran_ns(uid) - ran > AT_REST_NS)


def pause_on_a(pair):
    """The uid and the process of a machine that stands still on a."""
    a, b = pair
    uid = run_on_a(pair)
    expect_running(a, uid)
    process = a.vmm(uid)
    a.daemon.well(a.daemon.do("Pause"))
    b.until("PAUSED", "a")
    expect_still(a, uid)
    return uid, process


def until_lost(node):
    """It is known there that what was paused is lost."""
    node.daemon.until(lambda: node.get().status.reason == "PAUSED_LOST")


def test_paused_and_resumed_through_the_other_node(asking):
    a, b = asking
    uid = run_on_a(asking)
    epoch = a.get().status.failover.epoch
    pause = b.daemon.do("Pause", request_id=ID)
    assert pause.metadata.node == "nodes/a"
    b.daemon.well(pause)
    assert a.daemon.do("Pause", request_id=ID).name == pause.name
    for node in asking:
        node.until("PAUSED", "a")
    expect_still(a, uid)
    (line,) = (line for line in (b.daemon.state_dir / "audit.log").read_text().splitlines()
               if "/Pause" in line)
    assert "passed on to nodes/a" in line
    assert "paused" in b.gemel("cluster", "explain", "--project", "p", "web")
    b.gemel("vm", "resume", "web", "--project", "p", "--wait")
    b.until("RUNNING", "a")
    expect_running(a, uid)
    assert a.get().status.failover.epoch == epoch


def test_node_lost_while_paused_nobody_starts_it_before_it_is_resumed(asking):
    a, b = asking
    uid, _ = pause_on_a(asking)
    a.lose_power()
    until_lost(b)
    told = [event.reason for event in b.daemon.told("WAITING")]
    time.sleep(3)
    assert b.jail(uid) is None and b.daemon.state() == "FAILED"
    assert b.daemon.told("WAITING")[-1].reason == "PAUSED_LOST", told
    b.daemon.well(b.daemon.do("Resume"))
    b.until("RUNNING", "b")
    a.start()
    a.until("RUNNING", "b")
    assert a.jail(uid) is None


def test_majority_lost_while_paused_stays_paused(pair, etcd):
    a, b = pair
    uid, process = pause_on_a(pair)
    epoch = a.get().status.failover.epoch
    etcd.freeze(0, 1)
    a.daemon.until(lambda: a.get().status.reason == "NO_MAJORITY")
    etcd.thaw(0, 1)
    a.daemon.until(lambda: not a.get().status.reason)
    a.until("PAUSED", "a")
    b.until("PAUSED", "a")
    assert a.vmm(uid) == process and a.get().status.failover.epoch != epoch
    expect_still(a, uid)
    a.daemon.well(a.daemon.do("Resume"))
    expect_running(a, uid)
    assert a.vmm(uid) == process


def test_daemon_killed_while_paused_knows_it(pair):
    a, b = pair
    uid, process = pause_on_a(pair)
    a.daemon.kill()
    a.daemon.start()
    a.until_member_of(2)
    a.until("PAUSED", "a")
    expect_still(a, uid)
    with pytest.raises(grpc.RpcError) as refused:
        b.daemon.do("Resume")  # these two do not ask each other
    assert "ask nodes/a" in refused.value.details()
    a.daemon.well(a.daemon.do("Resume"))
    expect_running(a, uid)
    assert a.vmm(uid) == process


def test_process_that_ends_while_paused_is_not_started_again(pair):
    a, b = pair
    uid, _ = pause_on_a(pair)
    a.kill_vms()
    until_lost(a)
    until_lost(b)
    assert a.jail(uid) is None
    b.daemon.well(b.daemon.do("Start"))
    b.until("RUNNING", "a")


def test_stopped_while_paused(pair):
    a, b = pair
    uid, _ = pause_on_a(pair)
    b.daemon.well(b.daemon.do("Stop"))
    a.until("STOPPED")
    assert a.jail(uid) is None
    assert gemeld.v1("virtual_machines").DesiredState.Name(b.get().desired_state) == "DESIRED_STATE_STOPPED"
