"""gemel.v1.Consoles over api.sock: many read, one writes; what was said outlives the daemon."""

import queue

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1

WEB = "projects/p/vms/web"
pytestmark = needs_kvm


class Session:
    """One Attach stream."""

    def __init__(self, daemon, **fields):
        self.messages = v1("consoles")
        self.requests = queue.Queue()
        self.stream = daemon.consoles.Attach(iter(self.requests.get, None))
        self.send(open=self.messages.OpenConsole(name=WEB, **fields))

    def send(self, **fields):
        self.requests.put(self.messages.AttachConsoleRequest(**fields))

    def until(self, condition):
        """Messages up to the first that the condition is true of."""
        seen = []
        for message in self.stream:
            seen.append(message)
            if condition(message, b"".join(one.output.data for one in seen)):
                return seen
        return seen

    def text(self, wanted):
        seen = self.until(lambda _, text: wanted in text)
        return b"".join(one.output.data for one in seen)

    def close(self):
        self.requests.put(None)
        self.stream.cancel()


def code_of(session):
    with pytest.raises(grpc.RpcError) as failure:
        list(session.stream)
    return failure.value


def test_what_was_said_is_read_and_outlives_the_daemon(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    assert Session(daemon, follow=True).text(b"ready\n").endswith(b"ready\n")
    daemon.kill()
    daemon.start()
    session = Session(daemon, follow=True)
    assert b"ready\n" in session.text(b"ready\n")
    session.close()
    quick = Session(daemon)
    assert b"ready\n" in b"".join(message.output.data for message in quick.stream)


def test_offset_says_where_to_begin(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    Session(daemon, follow=True).text(b"ready\n")
    seen = list(Session(daemon, offset=2).stream)
    assert seen[0].opened.first_offset == 2
    assert b"".join(message.output.data for message in seen) == b"ady\n"


def test_writer_is_one_and_can_be_taken_over(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("console", "echo")))
    first = Session(daemon, write=True, follow=True)
    first.send(input=b"hello")
    assert first.text(b"hello") == b"hello"
    assert gemeld.reason_of(code_of(Session(daemon, write=True))) == "WRITER_BUSY"
    second = Session(daemon, write=True, take_over=True, follow=True)
    second.send(input=b"world")
    assert b"world" in second.text(b"world")
    told = first.until(lambda message, _: message.HasField("writer_changed"))
    assert not told[-1].writer_changed.self
    first.send(input=b"more")
    assert gemeld.reason_of(code_of(first)) == "NOT_WRITER"
    second.send(input=b"Q")
    assert second.until(lambda *_: False)[-1].HasField("ended")


def test_who_half_closes_reads_on_and_lets_another_write(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("console", "echo")))
    first = Session(daemon, write=True, follow=True)
    first.send(input=b"one\n")
    first.text(b"one")
    first.requests.put(None)  # grpcio closes its half
    second = None

    def another_writes():
        nonlocal second
        second = Session(daemon, write=True, follow=True)
        try:
            return second.until(lambda message, _: message.HasField("opened"))
        except grpc.RpcError as error:
            assert gemeld.reason_of(error) == "WRITER_BUSY"
            return False
    daemon.until(another_writes, "the writer to let go")
    second.send(input=b"two\n")
    assert b"two" in first.text(b"two")
    second.close()
    first.stream.cancel()


def test_console_of_a_stopped_machine_is_refused(daemon):
    daemon.create()
    assert code_of(Session(daemon)).code() == grpc.StatusCode.FAILED_PRECONDITION
