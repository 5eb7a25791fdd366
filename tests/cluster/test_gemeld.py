"""gemeld fails machines over: three real members of etcd, two nodes with a real gemel-keeper and a real
gemeld each, clients of their API, and a guest that writes to no disk."""

import os
import signal

import gemeld_node
import grpc
import pytest
from gemeld_node import VM, gemeld

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")


@pytest.fixture(name="pair")
def pair_fixture(etcd, tmp_path):
    """Nodes a and b."""
    with gemeld_node.pair_of(etcd, tmp_path) as nodes:
        yield nodes


def failover(**fields):
    return gemeld.v1("virtual_machines").FailoverSpec(**fields)


def create(node, vm_id="web", run=True, words="echo", **fields):
    spec = node.daemon.spec(words=words, failover=failover(**fields))
    return node.daemon.create(vm_id, run=run, spec=spec)


def create_at_last(node, vm_id):
    """While a leader is elected, no change is taken, or it is not known whether it was."""
    def made():
        try:
            create(node, vm_id)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.ALREADY_EXISTS:
                return True
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED), error
        return node.has(f"projects/p/vms/{vm_id}")
    node.daemon.until(made)


def run_on_a(pair, words="echo"):
    """The machine runs on a, and both know; its uid."""
    a, b = pair
    a.daemon.well(create(a, words=words, preferred_node="nodes/a"))
    b.until("RUNNING", "a")
    return a.until("RUNNING", "a").uid


def test_created_on_one_node_seen_on_both_and_taken_over_after_a_loss_of_power(pair):
    a, b = pair
    uid = run_on_a(pair)
    assert a.jail(uid) is not None and b.jail(uid) is None
    a.lose_power()
    found = b.until("RUNNING", "b")
    assert found.uid == uid and b.vmm(uid) is not None
    a.start()
    a.until("RUNNING", "b")
    assert a.jail(uid) is None


def test_stopped_and_started_and_deleted_by_the_other_node(pair):
    a, b = pair
    uid = run_on_a(pair)
    b.daemon.well(b.daemon.do("Stop"))
    a.until("STOPPED")
    assert a.jail(uid) is None
    b.daemon.well(b.daemon.do("Start"))
    a.until("RUNNING", "a")
    with pytest.raises(grpc.RpcError) as refused:
        b.daemon.do("Delete")
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    b.daemon.well(b.daemon.do("Delete", force=True))
    a.daemon.until(lambda: not a.has() and not b.has())
    assert a.jail(uid) is None
    a.daemon.well(create(a, run=False))  # the name is free


def test_daemon_killed_and_started_machine_runs_on(pair):
    a, b = pair
    uid = run_on_a(pair)
    process = a.vmm(uid)
    a.daemon.kill()
    a.daemon.start()
    a.until_member_of(2)
    a.until("RUNNING", "a")
    assert a.vmm(uid) == process
    b.until("RUNNING", "a")


def test_member_of_etcd_killed_machine_runs_on(pair, etcd):
    a, b = pair
    uid = run_on_a(pair)
    process = a.vmm(uid)
    etcd.kill(etcd.leader())
    create_at_last(b, "other")
    b.until("RUNNING", vm="projects/p/vms/other")
    a.until("RUNNING", "a")
    assert a.vmm(uid) == process


def test_no_majority_refuses_changes_and_pauses_what_runs(pair, etcd):
    a, b = pair
    uid = run_on_a(pair)
    etcd.freeze(0, 1)
    a.until("PAUSED", "a")
    for node in pair:
        with pytest.raises(grpc.RpcError) as refused:
            create(node, "other")
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE, refused.value
    assert not a.has("projects/p/vms/other")
    etcd.thaw(0, 1)
    a.daemon.until(lambda: a.daemon.state() == "RUNNING" and b.daemon.state() == "RUNNING")
    # In its process, or anew on either: what is no longer a node's ends there.
    a.daemon.until(lambda: (a.jail(uid) is None) != (b.jail(uid) is None))


def test_guest_that_ends_is_started_again_until_it_was_too_often(pair):
    a, b = pair
    a.daemon.well(create(a, max_restarts=2, preferred_node="nodes/a"))
    uid, started = a.get().uid, None
    for _ in range(3):
        while (now := a.until("RUNNING", "a").status.start_time) == started:
            pass
        started = now
        os.kill(a.vmm(uid), signal.SIGKILL)
    found = b.until("STOPPED")
    assert found.status.reason == "TOO_MANY_RESTARTS", found.status


@pytest.mark.parametrize("change,field", [
    ({"preferred_node": "nodes/c"}, "preferred_node"),
    ({"anti_affinity_group": "A B"}, "anti_affinity_group"),
    ({"priority": 100000}, "priority"),
])
def test_nonsense_is_refused_by_field(pair, change, field):
    with pytest.raises(grpc.RpcError) as refused:
        create(pair[0], **change)
    assert gemeld.fields_of(refused.value) == [f"virtual_machine.spec.failover.{field}"]


def test_ordinary_machine_does_not_become_the_clusters(pair):
    a, b = pair
    a.daemon.well(a.daemon.create())
    assert not b.has()
    messages = gemeld.v1("virtual_machines")
    changed = messages.VirtualMachine(name=VM, spec=a.daemon.spec(failover=failover()))
    with pytest.raises(grpc.RpcError) as refused:
        a.daemon.vms.Update(messages.UpdateVirtualMachineRequest(virtual_machine=changed))
    assert gemeld.fields_of(refused.value) == ["virtual_machine.spec.failover"]


def test_node_is_drained_and_resumed_by_the_command_line(pair):
    a, b = pair
    run_on_a(pair, "button")  # it is asked to end, and waited for
    assert "drained" in a.gemel("node", "drain", "a")
    b.until("RUNNING", "b")
    assert "drained" in b.gemel("cluster", "status")
    assert "running" in b.gemel("cluster", "explain", "--project", "p", "web")
    assert "resumed" in b.gemel("node", "resume", "a")
    a.until_member_of(2)
    words = ("--kernel", b.daemon.spec().boot.kernel, "--cmdline", "echo", "--machine", "micro-1",
             "--memory", "32M", "--start", "--wait", "--failover", "priority=1,preferred=a")
    b.gemel("vm", "create", "other", "--project", "p", *words)
    a.until("RUNNING", "a", vm="projects/p/vms/other")


def test_draining_node_of_a_client_gives_its_machine_to_the_other(pair):
    a, b = pair
    run_on_a(pair, "button")
    clusters, messages = b.daemon.stub("clusters", "Clusters"), gemeld.v1("clusters")
    assert clusters.DrainNode(messages.DrainNodeRequest(name="nodes/a")).drained
    b.until("RUNNING", "b")
    told = clusters.Explain(messages.ExplainRequest(name=VM))
    assert told.machine.owner == "nodes/b" and told.decisions and "web" in told.text
    assert not clusters.UndrainNode(messages.UndrainNodeRequest(name="nodes/a")).drained
    with pytest.raises(grpc.RpcError) as refused:
        clusters.DrainNode(messages.DrainNodeRequest(name="nodes/c"))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    a.until_member_of(2)
