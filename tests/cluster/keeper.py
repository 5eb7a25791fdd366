"""A gemel-keeper, and what gemeld would see of it."""

import importlib
import mmap
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
PROGRAM = BUILD / "keeper/gemel-keeper"
HEADER = struct.Struct("<IBBHI")
MAGIC = 0x434c4d47
T_OWN_US = 2_500_000
PATIENCE = 60  # seconds after which a wait is a failure: never reached by a test that passes


def messages():
    """What protoc makes of the keeper's and the cluster's protos."""
    if "proto" not in sys.modules:
        folder = tempfile.mkdtemp(prefix="gemel-protos-")
        subprocess.run(["protoc", f"--proto_path={ROOT}", f"--python_out={folder}",
                        "proto/internal/keeper.proto", "proto/internal/cluster.proto"],
                       cwd=ROOT, check=True)
        sys.path.insert(0, folder)
    return (importlib.import_module("proto.internal.keeper_pb2"),
            importlib.import_module("proto.internal.cluster_pb2"))


def now_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def incarnation(number):
    _, cluster = messages()
    return cluster.ClusterValue(
        format=1, incarnation=cluster.ClusterIncarnation(number=number)).SerializeToString()


def session(value):
    """(incarnation, number, state) of a record."""
    _, cluster = messages()
    record = cluster.ClusterValue.FromString(value).session
    return (record.id.incarnation, record.id.number, record.state)


def fenced(identity):
    _, cluster = messages()
    record = cluster.ClusterSession(
        id=cluster.ClusterSessionId(incarnation=identity[0], number=identity[1]),
        state=cluster.CLUSTER_SESSION_STATE_FENCED)
    return cluster.ClusterValue(format=1, session=record).SerializeToString()


class Page:
    """A deadline page, as a VM process reads it."""

    POISONED = -(1 << 63)

    def __init__(self, fd):
        self.memory = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(fd)

    def deadline(self):
        return struct.unpack_from("<q", self.memory, 32)[0]

    def poisoned(self):
        return self.deadline() == self.POISONED

    def allows(self):
        return now_us() < self.deadline()

    def extended_beyond(self, moment):
        """Waits until it is known to last beyond that moment, or that it never will: which of both."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            deadline = self.deadline()
            if deadline > moment or deadline == self.POISONED:
                return deadline > moment
            time.sleep(0.01)
        raise TimeoutError(f"the page ends at {self.deadline()}, and it is {now_us()}")


class Keeper:
    def __init__(self, folder, endpoints, node=1, tls=None, command=(PROGRAM,)):
        self.folder = pathlib.Path(folder)
        self.run_dir = self.folder / "run"
        self.config = self.folder / "cluster.toml"
        lines = [f"node = {node}", f"endpoints = {[*endpoints]}".replace("'", '"'),
                 f'state_dir = "{self.folder}/state"', f'run_dir = "{self.run_dir}"']
        if tls:
            lines += ["[tls]", f'ca = "{tls}/ca.pem"', f'certificate = "{tls}/cert.pem"',
                      f'key = "{tls}/key.pem"']
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.command = command
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [*self.command, "--config", self.config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=open(self.folder / "keeper.log", "ab"))
        assert self.process.stdout.readline() == b"ready\n", self.log()
        return self

    def log(self):
        return (self.folder / "keeper.log").read_text(encoding="utf-8")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.log()

    def connect(self):
        return Connection(self.run_dir / "keeper.sock")


class Connection:
    """gemeld's end of the keeper's socket."""

    def __init__(self, path):
        self.keeper, _ = messages()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        self.view = None
        self.page = None
        self.read()

    def close(self):
        self.socket.close()

    def read(self):
        """The next view. Its page, if it has one, is self.page."""
        ready, _, _ = select.select([self.socket], [], [], PATIENCE)
        assert ready, f"nothing new after {self.view}"
        data, fds, _, _ = socket.recv_fds(self.socket, 1 << 16, 4)
        assert data, "the keeper closed the connection"
        magic, version, place, zero, length = HEADER.unpack_from(data)
        assert (magic, version, place, zero, length) == (MAGIC, 1, 0, 0, len(data) - HEADER.size)
        self.view = self.keeper.FromKeeper.FromString(data[HEADER.size:])
        assert len(fds) == (1 if self.view.page else 0)
        self.page = Page(fds[0]) if fds else None
        return self.view

    def read_until(self, wanted):
        while not wanted(self.view):
            self.read()
        return self.view

    def session(self):
        return (self.view.session.incarnation, self.view.session.number)

    def say(self, **statement):
        payload = self.keeper.ToKeeper(**statement).SerializeToString()
        self.socket.send(HEADER.pack(MAGIC, 1, 0, 0, len(payload)) + payload)

    def drain(self, drained):
        self.say(drained=self.keeper.KeeperDrained(drained=drained))

    def quiet(self):
        self.say(quiet=self.keeper.KeeperQuiet(up_to=self.view.last))

    def is_over(self):
        """Waits until the session has ended."""
        return self.read_until(lambda view: view.opened == 0)

    def open(self):
        """Has the next session opened, of whatever may have been recorded meanwhile; its page."""
        while self.view.opened == 0:
            if self.view.wants_quiet:
                self.quiet()
            self.read()
        return self.page
