"""Operations, Events, Nodes, reflection and health; and clients that behave badly."""

import fcntl
import threading

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1

WEB = "projects/p/vms/web"


def refused(call):
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return failure.value


def type_of(event):
    return v1("events").EventType.Name(event.type).removeprefix("EVENT_TYPE_")


def test_operations_are_kept_and_listed(daemon):
    operation = daemon.create()
    messages = v1("operations")
    assert daemon.operations.Get(messages.GetOperationRequest(name=operation.name)) == operation
    listed = daemon.operations.List(messages.ListOperationsRequest(
        parent="projects/p", filter="metadata.verb = Create")).operations
    assert [one.name for one in listed] == [operation.name]
    error = refused(lambda: daemon.operations.Get(
        messages.GetOperationRequest(name="projects/p/operations/op-none")))
    assert error.code() == grpc.StatusCode.NOT_FOUND


def test_wait_without_an_end_returns_the_operation_as_it_is(daemon):
    messages = v1("operations")
    request = messages.WaitOperationRequest(name=daemon.create().name)
    assert daemon.operations.Wait(request).done


def test_events_come_in_order_and_resume(daemon):
    messages = v1("events")
    stream = daemon.events.Watch(messages.WatchRequest(parent="projects/p"))
    first = next(stream)
    assert type_of(first) == "BOOKMARK"
    daemon.create()
    daemon.well(daemon.do("Delete"))
    seen = [next(stream) for _ in range(3)]
    assert [type_of(event) for event in seen] == ["CREATED", "DELETED", "OPERATION_DONE"]
    assert seen[0].resource == WEB and seen[0].caller.startswith("u") and seen[0].operation
    stream.cancel()
    again = daemon.events.Watch(messages.WatchRequest(parent="projects/p",
                                                      resume_token=seen[0].resume_token))
    assert next(again) == seen[1]
    again.cancel()
    listed = daemon.events.List(messages.ListEventsRequest(parent="projects/p")).events
    assert list(listed) == seen


def test_resume_token_lives_on_after_sigkill(daemon):
    daemon.create()
    messages = v1("events")
    token = daemon.events.List(messages.ListEventsRequest(parent="projects/p")).events[0].resume_token
    daemon.create("db")
    daemon.kill()
    daemon.start()
    event = next(daemon.events.Watch(messages.WatchRequest(resume_token=token)))
    assert (type_of(event), event.resource) == ("CREATED", "projects/p/vms/db")


def test_made_up_resume_token_is_refused(daemon):
    messages = v1("events")
    error = refused(lambda: next(daemon.events.Watch(messages.WatchRequest(resume_token="x"))))
    assert gemeld.fields_of(error) == ["resume_token"]
    error = refused(lambda: next(daemon.events.Watch(messages.WatchRequest(resume_token="x.7"))))
    assert gemeld.reason_of(error) == "RESUME_TOKEN_EXPIRED"


def test_watchers_that_vanish_leave_the_daemon_well(daemon):
    messages = v1("events")
    streams = [daemon.events.Watch(messages.WatchRequest()) for _ in range(50)]
    for stream in streams:
        next(stream)
    for stream in streams:
        stream.cancel()
    daemon.create()
    assert daemon.get().name == WEB


def test_calls_at_once_each_get_their_answer(daemon):
    answers = []

    def call(number):
        answers.append(daemon.create(f"vm-{number}").done)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 20 and len(daemon.list()) == 20


def test_node_tells_what_it_has(daemon):
    messages = v1("nodes")
    node = daemon.nodes.Get(messages.GetNodeRequest(name="nodes/-"))
    assert node.name == "nodes/n" and node.capacity.memory_bytes > 0
    assert {capability.capability for capability in node.capabilities} == {
        "kvm", "vhost_net", "tun", "io_uring", "cgroup_v2", "landlock"}
    conditions = {condition.condition: condition for condition in node.conditions}
    assert conditions.keys() == {"store", "kvm", "pool/default"}
    assert all(condition.change_time.seconds > 0 for condition in conditions.values())
    assert daemon.nodes.List(messages.ListNodesRequest()).nodes[0].name == "nodes/n"
    error = refused(lambda: daemon.nodes.Get(messages.GetNodeRequest(name="nodes/x")))
    assert error.code() == grpc.StatusCode.NOT_FOUND


def test_too_large_a_message_is_refused(daemon):
    spec = daemon.spec(words="x" * (3 << 20))
    error = refused(lambda: daemon.create(spec=spec))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not daemon.list()


def test_bytes_that_are_no_message_are_refused(daemon):
    call = daemon.channel.unary_unary("/gemel.v1.VirtualMachines/Create",
                                      request_serializer=lambda data: data,
                                      response_deserializer=lambda data: data)
    assert refused(lambda: call(b"\xff" * 100)).code() in (
        grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INVALID_ARGUMENT)
    daemon.create()


def raw_stream(daemon, method, request):
    call = daemon.channel.stream_stream(method, request_serializer=lambda data: data,
                                        response_deserializer=lambda data: data)
    return next(call(iter([request])))


def test_reflection_names_the_services(daemon):
    # ServerReflectionRequest.list_services = 7, a string.
    answer = raw_stream(daemon, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                        b"\x3a\x00")
    for service in (b"gemel.v1.VirtualMachines", b"gemel.v1.Events", b"gemel.v1.Operations",
                    b"gemel.v1.Nodes", b"grpc.health.v1.Health"):
        assert service in answer


def test_health_is_serving(daemon):
    call = daemon.channel.unary_unary("/grpc.health.v1.Health/Check",
                                      request_serializer=lambda data: data,
                                      response_deserializer=lambda data: data)
    assert call(b"") == b"\x08\x01"


def test_second_daemon_in_the_same_folders_is_refused(daemon):
    other = gemeld.Gemeld(daemon.folder).start(wait=False)
    assert other.process.wait(timeout=gemeld.DEADLINE) == 1
    assert f"{daemon.state_dir}/lock: another gemeld (process {daemon.process.pid})" in daemon.log()


@pytest.mark.parametrize("shared", ["state", "run"])
def test_second_daemon_in_one_of_the_folders_is_refused(daemon, tmp_path, shared):
    folder = tmp_path / "other"
    folder.mkdir()
    other = gemeld.Gemeld(folder)
    (folder / shared).symlink_to(daemon.folder / shared)
    other.start(wait=False)
    assert other.process.wait(timeout=gemeld.DEADLINE) == 1
    assert f"{shared}/lock: another gemeld (process {daemon.process.pid})" in other.log()
    daemon.create()


def test_lock_of_a_killed_daemon_is_waited_for(tmp_path):
    """A child between fork and exec has its parent's locks for a moment."""
    (tmp_path / "state").mkdir()
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run/lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        daemon = gemeld.Gemeld(tmp_path).start(wait=False)
        # It has the first lock, and so is at the second.
        daemon.until(lambda: (tmp_path / "state/lock").exists()
                     and (tmp_path / "state/lock").read_text() == f"{daemon.process.pid}\n")
    daemon.connect()
    daemon.close()


def test_damaged_store_is_reported_and_kept(tmp_path):
    daemon = gemeld.Gemeld(tmp_path).start()
    daemon.create()
    daemon.stop()
    for file in daemon.state_dir.glob("gemeld.db*"):
        file.unlink()
    (daemon.state_dir / "gemeld.db").write_bytes(b"x" * 9000)
    daemon.start(wait=False)
    assert daemon.process.wait(timeout=gemeld.DEADLINE) == 1
    assert "gemeld.db" in daemon.log()
    assert (daemon.state_dir / "gemeld.db").read_bytes() == b"x" * 9000


def test_audit_log_has_every_change(daemon):
    daemon.create(request_id="r-1")
    text = (daemon.state_dir / "audit.log").read_text()
    assert "/gemel.v1.VirtualMachines/Create" in text and '"r-1"' in text


@needs_kvm
def test_machines_run_on_through_restart_and_kill(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    before = sorted(pid for pid, _ in daemon.processes())
    daemon.stop()
    daemon.start()
    assert daemon.state() == "RUNNING"
    daemon.kill()
    daemon.start()
    assert daemon.state() == "RUNNING"
    assert sorted(pid for pid, _ in daemon.processes()) == before
    daemon.well(daemon.do("Stop"))


@needs_kvm
def test_end_while_the_daemon_is_down_is_known(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    pids = [pid for pid, words in daemon.processes()]
    daemon.kill()
    import os
    import signal
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    daemon.start()
    assert daemon.state() == "STOPPED"
    assert daemon.get().status.reason in ("VMM_KILLED", "LOST")
