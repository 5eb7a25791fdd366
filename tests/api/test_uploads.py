"""Disks.Upload: whole or not at all."""

import hashlib
import os
import subprocess
import threading

import gemeld
import grpc
import pytest
from gemeld import MIB, v1

ROOT_DISK = "projects/p/disks/root"


def parts(data, size=None, sha256=None, pieces=256 << 10, wait=None, **fields):
    """The messages of an upload; `wait` is waited for before the last piece."""
    messages = v1("disks")
    yield messages.UploadDiskRequest(create=messages.CreateDiskRequest(
        parent="projects/p", disk_id="root",
        disk=messages.Disk(size_bytes=len(data) if size is None else size,
                           allocation=fields.pop("allocation", 0), pool=fields.pop("pool", "")),
        **fields))
    for start in range(0, len(data), pieces):
        if wait is not None and start + pieces >= len(data):
            wait.wait()
        yield messages.UploadDiskRequest(data=data[start:start + pieces])
    if sha256:
        yield messages.UploadDiskRequest(sha256=sha256)


def refused(daemon, stream):
    with pytest.raises(grpc.RpcError) as failure:
        daemon.disks.Upload(stream)
    return failure.value


def files(daemon):
    return sorted(path.name for path in (daemon.state_dir / "disks/default").iterdir())


def nothing_is_left(daemon):
    daemon.until(lambda: files(daemon) == [], "an upload's file to go")
    assert not daemon.disks.List(v1("disks").ListDisksRequest(parent="projects/p")).disks
    assert not daemon.operations.List(
        v1("operations").ListOperationsRequest(parent="projects/-")).operations


DATA = os.urandom(MIB) + bytes(2 * MIB) + os.urandom(MIB)


@pytest.mark.parametrize("allocation", ["ALLOCATION_SPARSE", "ALLOCATION_FULL"])
def test_bytes_are_the_disks(daemon, allocation):
    stream = parts(DATA, sha256=hashlib.sha256(DATA).hexdigest(), allocation=allocation)
    daemon.well(daemon.disks.Upload(stream))
    disk = daemon.disks.Get(v1("disks").GetDiskRequest(name=ROOT_DISK))
    assert v1("disks").DiskState.Name(disk.state) == "DISK_STATE_READY"
    path = daemon.state_dir / "disks/default" / f"{disk.uid}.raw"
    assert files(daemon) == [path.name]
    assert path.read_bytes() == DATA
    assert (disk.allocated_bytes < len(DATA)) == (allocation == "ALLOCATION_SPARSE")


def test_same_request_again_is_the_same_operation(daemon):
    first = daemon.disks.Upload(parts(DATA, request_id="r"))
    assert daemon.disks.Upload(parts(DATA, request_id="r")).name == first.name
    error = refused(daemon, parts(DATA, size=512, request_id="r"))
    assert gemeld.reason_of(error) == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("stream,field", [
    (lambda: parts(DATA[:512], size=1024), "data"),
    (lambda: parts(DATA[:1024], size=512), "data"),
    (lambda: parts(DATA[:512], sha256="0"), "sha256"),
    (lambda: parts(DATA[:512], size=100), "disk.size_bytes"),
    (lambda: parts(DATA[:512], pool="none"), "disk.pool"),
    (lambda: parts(DATA, pieces=3 << 19), "data"),
    (lambda: iter([v1("disks").UploadDiskRequest(data=b"x")]), "create"),
    (lambda: iter([]), "create"),
])
def test_bad_upload_is_refused_by_field_and_leaves_nothing(daemon, stream, field):
    error = refused(daemon, stream())
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    assert gemeld.fields_of(error) == [field]
    nothing_is_left(daemon)


def test_other_bytes_than_the_digest_says_leave_nothing(daemon):
    error = refused(daemon, parts(DATA, sha256="0" * 64))
    assert error.code() == grpc.StatusCode.DATA_LOSS
    assert hashlib.sha256(DATA).hexdigest() in error.details()
    nothing_is_left(daemon)


def test_broken_stream_leaves_nothing(daemon):
    never = threading.Event()
    call = daemon.disks.Upload.future(parts(DATA, wait=never))
    daemon.until(lambda: files(daemon) != [], "the upload to begin")
    call.cancel()
    never.set()
    nothing_is_left(daemon)


def test_upload_that_a_killed_daemon_had_begun_is_gone_with_the_next(daemon):
    never = threading.Event()
    call = daemon.disks.Upload.future(parts(DATA, wait=never))
    daemon.until(lambda: files(daemon) != [], "the upload to begin")
    daemon.process.kill()  # with the client still there
    daemon.process.wait()
    never.set()
    assert call.exception() is not None
    daemon.channel.close()
    assert files(daemon) != []
    daemon.start()
    nothing_is_left(daemon)


@pytest.mark.parametrize("allocation", ["ALLOCATION_SPARSE", "ALLOCATION_FULL"])
def test_full_pool_is_named_and_nothing_is_left(tmp_path, allocation):
    pool = tmp_path / "small"
    pool.mkdir()
    (tmp_path / "gemeld.toml").write_text(f'[pools.small]\npath = "{pool}"\n')
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", pool], check=True)
    daemon = gemeld.Gemeld(tmp_path, "--config", tmp_path / "gemeld.toml")
    try:
        daemon.start()
        error = refused(daemon, parts(os.urandom(4 * MIB), pool="small", allocation=allocation))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        assert 'pool "small"' in error.details()
        daemon.until(lambda: not list(pool.iterdir()), "an upload's file to go")
        assert not daemon.disks.List(v1("disks").ListDisksRequest(parent="projects/p")).disks
        daemon.well(daemon.disks.Upload(parts(DATA[:MIB], pool="small")))
    finally:
        daemon.close()
        subprocess.run(["umount", pool], check=True)
