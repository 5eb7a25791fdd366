"""Who may read and write a console, and for how long."""

import types

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from test_access import access, grant, messages, remote_daemon  # noqa: F401 (a fixture)
from test_consoles import Session

pytestmark = needs_kvm


def attach(remote, **fields):
    """alice's session."""
    stub = gemeld.module("gemel.v1.consoles_pb2_grpc").ConsolesStub(remote.channel())
    return Session(types.SimpleNamespace(consoles=stub), **fields)


def end_of(session):
    with pytest.raises(grpc.RpcError) as failure:
        list(session.stream)
    return failure.value.code()


def take_back(remote, binding):
    access(remote.daemon.channel).DeleteBinding(messages().DeleteBindingRequest(name=binding.name))


@pytest.fixture(name="web")
def running_machine(remote):
    remote.daemon.well(remote.daemon.create(run=True, spec=remote.daemon.spec("console", "echo")))
    return remote


def test_viewer_reads_and_does_not_write(web):
    grant(web, "VIEWER", "cert:alice", "projects/p")
    writer = Session(web.daemon, write=True, follow=True)
    reader = attach(web, follow=True)
    writer.send(input=b"hello")
    assert reader.text(b"hello") == b"hello"
    reader.send(take_writer=reader.messages.TakeWriter(take_over=True))
    assert end_of(reader) == grpc.StatusCode.PERMISSION_DENIED
    assert end_of(attach(web, write=True, take_over=True)) == grpc.StatusCode.PERMISSION_DENIED
    writer.send(input=b"on")
    assert b"on" in writer.text(b"on")
    writer.close()


def test_nobody_reads_by_default(web):
    assert end_of(attach(web, follow=True)) == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("write", [False, True])
def test_session_without_traffic_is_cut_when_its_rights_go(web, write):
    binding = grant(web, "OPERATOR", "cert:alice", "projects/p")
    session = attach(web, follow=True, write=write)
    session.until(lambda message, _: message.HasField("opened"))
    take_back(web, binding)
    assert end_of(session) == grpc.StatusCode.PERMISSION_DENIED
    denied = (web.daemon.state_dir / "audit.log").read_text().splitlines()[-1]
    assert "Consoles/Attach" in denied and "PERMISSION_DENIED" in denied and "alice" in denied


def test_session_is_cut_when_its_certificate_is_revoked(web):
    grant(web, "VIEWER", "cert:alice", "projects/p")
    session = attach(web, follow=True)
    session.until(lambda message, _: message.HasField("opened"))
    from test_access import pki
    pki("revoke", "alice", "--dir", web.pki)
    assert end_of(session) == grpc.StatusCode.UNAUTHENTICATED


def test_writer_who_is_a_viewer_now_reads_on(web):
    grant(web, "VIEWER", "cert:alice", "projects/p")
    binding = grant(web, "OPERATOR", "cert:alice", "projects/p")
    session = attach(web, follow=True, write=True)
    session.send(input=b"first")
    session.text(b"first")
    take_back(web, binding)
    told = session.until(lambda message, _: message.HasField("writer_changed"))
    assert not told[-1].writer_changed.self
    other = Session(web.daemon, write=True, follow=True)
    other.send(input=b"second")
    assert b"second" in session.text(b"second")
    session.send(input=b"third")
    assert end_of(session) == grpc.StatusCode.FAILED_PRECONDITION
    other.close()
