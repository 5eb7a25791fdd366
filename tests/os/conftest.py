"""One emulated KVM host for all tests of this folder, and gemel run in it as a user would type it.

Several pytests may share that host (side_by_side): each takes whole files, the longest first.
"""

import dataclasses
import functools
import itertools
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/kvmhost")]
# The paths above must be there first.
import initramfs  # noqa: E402  pylint: disable=wrong-import-position
import kvmhost  # noqa: E402  pylint: disable=wrong-import-position
import remote  # noqa: E402  pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"
VMM = BUILD / "vmm/process/gemel-vmm"
# Has room for a guest of 6 GiB, of which it touches little; /disk takes images.
SHARED = {"memory": "8G", "disk": "6G"}
LANE = os.environ.get("GEMEL_OS_LANE", "0")
# Files that see each other's work in the host, and so are for one lane.
TOGETHER = {"test_net.py": "networks", "test_daemon.py": "networks"}
LONGEST = ("test_server.py", "test_stock_kernel.py", "test_net.py", "test_daemon.py", "test_debian.py")
# Many times what a quiet machine needs: a test that fails by time says nothing about Gemel.
TIMEOUT = 300


def pytest_collection_modifyitems(items):
    files = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: files.get(item.path.name, len(files)))


def pytest_runtest_protocol(item):
    """Leaves tests of files that another lane has taken to that."""
    return None if take(TOGETHER.get(item.path.name, item.path.name)) else True


@functools.cache
def take(name):
    """Whether the tests of this file, or of these files, are ours to run."""
    taken = os.environ.get("GEMEL_OS_TAKEN")
    if taken is None:
        return True
    try:
        (pathlib.Path(taken) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclasses.dataclass(repr=False)
class Ended:
    """A gemel run that has ended."""

    status: int
    console: str  # the guest's serial output
    log: str      # what gemel and gemel-vmm said

    def says(self, text):
        """Whether /init of our initramfs printed this line."""
        return re.search(rf"guest: .*{text}", self.console) is not None

    def __repr__(self):  # what pytest shows of it
        return f"status {self.status}\n{self.log}\n{self.console[-6000:]}"


@pytest.fixture(scope="session", name="debian")
def debian_folder():
    """disk.img, vmlinuz, initrd.img and modules/ of a Debian 12 guest."""
    done = subprocess.run([HERE / "make_debian_disk"], check=True, stdout=subprocess.PIPE)
    return pathlib.Path(done.stdout.decode().strip())


@pytest.fixture(scope="session", name="images")
def images_folder(debian, tmp_path_factory):
    """The tiny initramfs, beside which tests may put files for the host to see."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "tiny.cpio").write_bytes(initramfs.build(debian / "modules"))
    return folder


@pytest.fixture(scope="session", name="host")
def emulated_host():
    if not (GEMEL.exists() and VMM.exists()):
        pytest.skip(f"{GEMEL} or {VMM} is not there")
    if shared := os.environ.get("GEMEL_OS_LAB"):
        yield remote.RemoteHost(shared)
        return
    with kvmhost.Lab(**SHARED) as lab:
        yield lab.hosts[0]


class Runner:
    """gemel run in the emulated host."""

    def __init__(self, host, debian, images):
        self.host, self.debian, self.images = host, debian, images
        self._numbers = itertools.count()

    def __call__(self, *arguments, steps=(), timeout=TIMEOUT, terminal=False):
        """gemel run ARGUMENTS, with somebody at its console who does the steps."""
        on = [word for step in steps for word in ("--on", step)]
        terminal = ["--terminal"] if terminal else []
        command = [HERE / "drive", "--timeout", timeout, *terminal, *on, "--", GEMEL, "run", *arguments]
        command = [str(word) for word in command]
        done = self.host.run(command, cwd=str(ROOT), timeout=timeout + 60)
        return Ended(done.returncode, done.stdout.decode(errors="replace"),
                     done.stderr.decode(errors="replace"))

    def tiny(self, do, *arguments, cmdline="", kernel=None, **options):
        """The stock cloud kernel, or another, with our initramfs, which does `do`."""
        return self("--kernel", kernel or self.debian / "vmlinuz", "--initrd", self.images / "tiny.cpio",
                    "--cmdline", f"console=ttyS0 quiet panic=-1 do={do} {cmdline}".strip(),
                    *arguments, **options)

    def stock(self, disk, *arguments, cmdline="", **options):
        """Debian as installed."""
        return self("--kernel", self.debian / "vmlinuz", "--initrd", self.debian / "initrd.img",
                    "--cmdline", f"console=ttyS0 root=/dev/vda {cmdline}".strip(),
                    "--disk", f"path={disk}", *arguments, **options)

    def in_host(self, *command):
        """The output of a command in the host, which must succeed."""
        done = self.host.run(list(map(str, command)), cwd="/", timeout=TIMEOUT)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.decode(errors="replace")

    def new_disk(self, content=b"", size="8M"):
        """A fresh image on the host's own disk, beginning with `content`."""
        number = next(self._numbers)
        path = f"/disk/test{LANE}-{number}.img"
        source = self.images / f"content{number}"  # a host sees a file as it was when it first looked
        source.write_bytes(content)
        self.in_host("cp", source, path)
        self.in_host("truncate", "-s", size, path)
        return path

    def debian_copy(self):
        path = f"/disk/debian{LANE}-{next(self._numbers)}.img"
        self.in_host("cp", "--sparse=always", self.debian / "disk.img", path)
        return path


@pytest.fixture(name="run", scope="session")
def runner(host, debian, images):
    return Runner(host, debian, images)
