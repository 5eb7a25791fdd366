"""virtio-blk under a stock kernel, and what is in the image afterwards."""

import hashlib

import pytest

FIRST = b"from the host :)"


@pytest.mark.parametrize("engine, profile", [("io_uring", "server"), ("sync", "micro")])
def test_what_the_guest_writes_is_in_the_image(run, engine, profile):
    disk = run.new_disk(FIRST)
    ended = run.tiny("disk", "--profile", profile, "--disk",
                     f"path={disk},serial=gemel-{engine},engine={engine}")
    assert ended.status == 0, ended
    assert ended.says(f"size=16384 ro=0 serial=gemel-{engine}"), ended
    assert ended.says("first=from the host :"), ended
    assert ended.says("write=done"), ended
    expected = bytearray(8 << 20)
    expected[:len(FIRST)] = FIRST
    expected[1024:1040] = b"written in guest"
    want = hashlib.md5(expected).hexdigest()
    assert ended.says(f"sum={want}"), ended
    assert run.in_host("md5sum", disk).split()[0] == want


def test_direct_disk_reads_and_writes(run):
    disk = run.new_disk(FIRST)
    ended = run.tiny("disk", "--profile", "server", "--disk",
                     f"path={disk},direct=on")
    assert ended.status == 0, ended
    assert ended.says("write=done"), ended
    assert "written in guest" in run.in_host("dd", f"if={disk}", "bs=512", "skip=2", "count=1")


def test_read_only_disk_refuses_and_is_unchanged(run):
    disk = run.new_disk(FIRST)
    before = run.in_host("md5sum", disk)
    ended = run.tiny("disk", "--profile", "server", "--disk",
                     f"path={disk},readonly=on")
    assert ended.status == 0, ended
    assert ended.says("ro=1"), ended
    assert ended.says("write=refused"), ended
    assert run.in_host("md5sum", disk) == before


def test_block_device_gives_back_what_the_guest_discards(run):
    disk = run.new_disk()
    run.in_host("dd", "if=/dev/urandom", f"of={disk}", "bs=1M", "count=8", "conv=notrunc,fsync")
    run.in_host("modprobe", "loop")
    device = run.in_host("losetup", "--find", "--show", disk).strip()
    ended = run.tiny("discard", "--disk", f"path={device}")
    run.in_host("losetup", "--detach", device)
    assert ended.status == 0, ended
    assert ended.says("discarded"), ended
    assert int(run.in_host("stat", "--format=%b", disk)) < 100, ended
