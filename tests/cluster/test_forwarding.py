"""Any node answers for the whole cluster: calls of a machine's process reach the node that has it, in the
caller's name; a call that is repeated at the other node is one call; what was decided is told by both."""

import json
import os
import queue
import signal

import gemeld_node
import grpc
import pytest
from gemeld_node import VM, gemeld, run_on_a

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")
ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(name="pair")
def pair_fixture(tmp_path):
    with gemeld_node.pair_that_asks(tmp_path) as pair:
        yield pair


def audited(node, method):
    lines = (node.daemon.state_dir / "audit.log").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["method"].endswith(method)]


def inspect(node, **more):
    messages = gemeld.v1("virtual_machines")
    return node.daemon.vms.Inspect(messages.InspectVirtualMachineRequest(name=VM), **more)


def types(events):
    return [gemeld.v1("events").EventType.Name(event.type).removeprefix("EVENT_TYPE_")
            for event in events]


def list_events(node):
    messages = gemeld.v1("events")
    return node.daemon.events.List(messages.ListEventsRequest(parent="", page_size=1000)).events


def refusal(call, *words, **fields):
    with pytest.raises(grpc.RpcError) as refused:
        call(*words, **fields)
    return refused.value


def test_process_is_asked_through_the_other_node(pair):
    a, b = pair
    uid = run_on_a(pair)
    assert inspect(b).pid == inspect(a).pid == a.vmm(uid)
    reset = b.daemon.do("Reset", request_id=ID)
    assert reset.metadata.node == "nodes/a"
    b.daemon.well(reset)
    for node in (b, a):
        assert node.daemon.do("Reset", request_id=ID).name == reset.name
    assert types(list_events(a)).count("RESET") == 1
    assert {line["message"] for line in audited(b, "/Reset")} == {"passed on to nodes/a"}
    via = [line.get("via") for line in audited(a, "/Reset")]
    assert via == ["nodes/b", "nodes/b", None]
    assert {(line["who"], line["request_id"]) for line in audited(a, "/Reset")} == {("user:root", ID)}


def test_console_of_the_other_node(pair):
    run_on_a(pair)
    b = pair[1]
    messages = gemeld.v1("consoles")
    requests = queue.Queue()
    stream = b.daemon.consoles.Attach(iter(requests.get, None))
    requests.put(messages.AttachConsoleRequest(
        open=messages.OpenConsole(name=VM, write=True, follow=True)))
    requests.put(messages.AttachConsoleRequest(input=b"through b\n"))
    opened, said = None, b""
    while b"through b" not in said:
        message = next(stream)
        opened = opened or message.HasField("opened")
        said += message.output.data
    assert opened
    (line,) = audited(pair[0], "Consoles/Attach")
    assert line["via"] == "nodes/b"
    requests.put(None)
    stream.cancel()


def test_what_was_typed_before_a_half_close_is_not_lost(pair):
    run_on_a(pair)
    b = pair[1]
    messages = gemeld.v1("consoles")

    def attach(*words, **how):
        requests = [messages.AttachConsoleRequest(open=messages.OpenConsole(name=VM, **how))]
        requests += [messages.AttachConsoleRequest(input=word) for word in words]
        return b.daemon.consoles.Attach(iter(requests))

    for _ in attach(b"first words\n", b"last words\n", write=True):
        pass  # until nothing more is to come
    b.daemon.until(lambda: b"last words" in b"".join(told.output.data for told in attach()), "the echo")


def test_node_that_cannot_be_asked_is_named(pair):
    a, b = pair
    run_on_a(pair)
    a.daemon.kill()
    error = refusal(b.daemon.do, "Reset")
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert "node a has it" in error.details(), error
    assert "web" in a.gemel("vm", "list", "--project", "p", "-o", "name", others=[b])
    a.gemel("vm", "stop", "web", "--project", "p", others=[b])
    a.daemon.start()
    b.until("STOPPED")


def list_stats(node, **more):
    messages = gemeld.v1("virtual_machines")
    return node.daemon.vms.ListStats(
        messages.ListVirtualMachineStatsRequest(parent="projects/-"), **more)


def test_statistics_are_those_of_all_nodes(pair):
    a, b = pair
    run_on_a(pair)
    b.daemon.well(b.daemon.create("own", run=True, spec=b.daemon.spec()))
    for node, names in ((a, [VM]), (b, ["projects/p/vms/own", VM])):
        seen = list_stats(node)
        assert [stats.name for stats in seen.virtual_machine_stats] == names
        assert all(stats.memory_resident_bytes for stats in seen.virtual_machine_stats)
        assert not seen.unreachable
    assert "web" in b.gemel("vm", "top", "--once", "--interval", "100ms", "--project", "p")


def test_statistics_name_the_node_that_does_not_answer(pair):
    a, b = pair
    run_on_a(pair)
    b.daemon.well(b.daemon.create("own", run=True, spec=b.daemon.spec()))
    os.kill(a.daemon.process.pid, signal.SIGSTOP)
    try:
        seen = list_stats(b, timeout=20)
    finally:
        os.kill(a.daemon.process.pid, signal.SIGCONT)
    assert [stats.name for stats in seen.virtual_machine_stats] == ["projects/p/vms/own"]
    assert seen.unreachable == ["nodes/a"]


def test_who_is_no_node_speaks_for_nobody(pair):
    run_on_a(pair)
    a = pair[0]
    speaks = ("gemel-forwarded-bin", b"1\nlocal\nuser:alice\nunix\n")
    error = refusal(inspect, a, metadata=[speaks])
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    (line,) = audited(a, "/Inspect")
    assert line["who"] == "user:root" and "nodes of the cluster alone" in line["message"]


def test_call_repeated_at_the_other_node_is_one_call(pair):
    a, b = pair
    run_on_a(pair)
    stop = b.daemon.do("Stop", request_id=ID)
    b.daemon.well(stop)
    a.daemon.until(lambda: knows(a, stop))
    assert a.daemon.do("Stop", request_id=ID).name == stop.name
    a.daemon.well(stop)
    error = refusal(a.daemon.do, "Start", request_id=ID)
    assert gemeld.reason_of(error) == "REQUEST_ID_REUSED"
    start = a.daemon.do("Start", request_id=gemeld.new_id())
    b.daemon.well(start)  # asked of who did not take it


def knows(node, operation):
    try:
        messages = gemeld.v1("operations")
        return node.daemon.operations.Get(messages.GetOperationRequest(name=operation.name)).done
    except grpc.RpcError:
        return False


def keys(events):
    return [(event.decision.node, event.decision.number) for event in events
            if event.HasField("decision")]


def test_decisions_are_told_by_both_and_a_watch_moves(pair):
    a, b = pair
    uid = run_on_a(pair)
    for node in pair:
        node.daemon.until(lambda node=node: "nodes/b" in [where for where, _ in keys(list_events(node))])
    before = list_events(a)
    a.lose_power()
    b.until("RUNNING", "b")
    messages = gemeld.v1("events")
    told = []
    for event in b.daemon.events.Watch(messages.WatchRequest(resume_token=before[-1].resume_token)):
        told.append(event)
        if event.type == messages.EVENT_TYPE_TAKEN_OVER:
            break
    assert "NODE_LOST" in types(told) and not set(keys(told)) & set(keys(before)), told
    assert (told[-1].uid, told[-1].reason, told[-1].decision.node) == (uid, "NODE_LOST", "nodes/b")
    a.start()
    seen = keys(before)

    def news(node):
        return [key for key in keys(list_events(node)) if key not in seen]
    # a is back, has told so, and both tell the same in the same order.
    a.daemon.until(lambda: news(a)[-1:] and news(a)[-1][0] == "nodes/a" and news(a) == news(b))
    assert news(a)[:len(keys(told))] == keys(told)
    assert len(set(keys(list_events(a)))) == len(keys(list_events(a)))
