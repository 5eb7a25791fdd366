"""A real iSCSI target: tgtd on the loopback, with disks in files. It serves this test alone."""

import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "check"))
import unpacked  # noqa: E402

NAME = "iqn.2026-11.test:disk"


def missing():
    """What stands in the way of a target here, or None."""
    for name in ("tgtd", "tgtadm"):
        if unpacked.program("tgt", name) is None:
            return f"{name} is not there (tests/check/unpack packaging/packages-unpacked.txt)"
    probe = subprocess.run([unpacked.program("tgt", "tgtd"), "--version"], check=False,
                           capture_output=True)
    return None if probe.returncode == 0 else f"tgtd does not start: {probe.stderr.decode()}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Target:
    """start() to begin, kill() to lose it with all that it knows of reservations, stop() at last. It has LUNs 1 to
    `luns`, of `size` bytes."""

    def __init__(self, folder, size=16 << 20, user=None, address="127.0.0.1", inside=(), luns=1):
        self.address, self.inside = address, inside  # `inside`: the words before its command
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.user = user
        self.process = None
        self.image = self.folder / "disk.img"
        self.images = [self.image, *(self.folder / f"disk{lun}.img" for lun in range(2, luns + 1))]
        for path in self.images:
            with open(path, "wb") as image:
                image.truncate(size)

    def admin(self, *words):
        environment = os.environ | {"TGT_IPC_SOCKET": str(self.folder / "tgt")}
        return subprocess.run(
            [unpacked.program("tgt", "tgtadm"), "-C", str(self.port % 32768), "--lld", "iscsi", *words],
            check=False, capture_output=True, text=True, env=environment, timeout=20)

    def start(self):
        environment = os.environ | {"TGT_IPC_SOCKET": str(self.folder / "tgt")}
        for path in self.folder.glob("tgt.*"):
            path.unlink()
        with open(self.folder / "tgtd.log", "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [*self.inside, unpacked.program("tgt", "tgtd"), "-f", "-C", str(self.port % 32768),
                 "--iscsi", f"portal={self.address}:{self.port}"],
                env=environment, stdout=log, stderr=log)
        # It answers its administrator once it has bound its port.
        deadline = time.monotonic() + 20
        while self.admin("--op", "show", "--mode", "sys").returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, \
                (self.folder / "tgtd.log").read_text()
            time.sleep(0.02)
        self.must("--op", "new", "--mode", "target", "--tid", "1", "-T", NAME)
        for lun, image in enumerate(self.images, 1):
            self.must("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun), "-b",
                      str(image))
        if self.user:
            name, password = self.user
            self.must("--op", "new", "--mode", "account", "--user", name, "--password", password)
            self.must("--op", "bind", "--mode", "account", "--tid", "1", "--user", name)
        self.must("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        return self

    def must(self, *words):
        done = self.admin(*words)
        assert done.returncode == 0, f"tgtadm {words}: {done.stderr}"
        return done.stdout

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill()

    def content(self, offset, length):
        with open(self.image, "rb") as image:
            image.seek(offset)
            return image.read(length)
