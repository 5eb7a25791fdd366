"""A node of a cluster: its gemel-keeper, cluster_node in the place of its gemeld, and a VM with a real
guest."""

import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import time
import uuid

import keeper

BUILD = keeper.BUILD
PROGRAM = BUILD / "tests/cluster/cluster_node"
SECTORS = 64


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def jail_of(mark):
    """The outer process of the jail with that first word, or None."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            above = pathlib.Path(f"/proc/{parent}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if len(words) > 1 and words[0] == "gemel-jail" and words[1] == mark and above != words:
            return int(entry.name)
    return None


def kill_jail(find):
    """Kills the jail that `find` gives, and waits until it gives none."""
    jail = find()
    if jail is None:
        return
    for pid in [*children(jail), jail]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    end = time.monotonic() + keeper.PATIENCE
    while find() is not None and time.monotonic() < end:
        time.sleep(0.01)


def console_of(folder):
    """The console of a VM that may just be being started."""
    end = time.monotonic() + keeper.PATIENCE
    while True:
        try:
            return Console(folder)
        except (FileNotFoundError, ConnectionRefusedError):
            assert time.monotonic() < end, folder
            time.sleep(0.01)


def nearest(etcd, number):
    """The endpoints as node `number` has them: its own member first."""
    all_of_them = etcd.endpoints()
    return all_of_them[number - 1:] + all_of_them[:number - 1]


class Daemon:
    """cluster_node; it can be killed and begun anew, and its VM runs on."""

    def __init__(self, folder, number, node, etcd, shared, words=(), command=(PROGRAM,), disk=None):
        self.run_dir = pathlib.Path(folder) / f"vms{number}"
        self.run_dir.mkdir()
        self.number, self.node, self.etcd, self.shared = number, node, etcd, shared
        self.command = command
        self.uid = str(uuid.uuid4())
        self.machine = [BUILD / "tests/guests/guest-journal", f"id={number}",
                        f"disk={disk or shared / 'disk.img'}", *words]
        self.state = {}
        self.text = b""
        self.wanted = None

    def start(self):
        environment = dict(os.environ, GEMEL_JAIL=BUILD / "jail/gemel-jail",
                           GEMEL_DIAL=BUILD / "helpers/dial/gemel-dial",
                           GEMEL_VMM=BUILD / "vmm/process/gemel-vmm")
        command = [*self.command, self.run_dir, str(self.number), self.node.run_dir / "keeper.sock",
                   self.shared / "reservations", ",".join(nearest(self.etcd, self.number)), self.uid,
                   *self.machine]
        self.text = b""
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(self.run_dir / "log", "ab"), env=environment)
        while self.line() != "ready":
            pass
        if self.wanted:
            self.want(self.wanted)
        return self

    def want(self, what):
        """"run", "leave" or "away NODE"."""
        self.wanted = what
        self.process.stdin.write(f"want {what}\n".encode())
        self.process.stdin.flush()

    def line(self):
        """The next line; if it is a state, self.state is that."""
        end = time.monotonic() + keeper.PATIENCE
        while b"\n" not in self.text:
            ready, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            assert ready, f"node {self.number}: nothing new after {self.state}"
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, f"node {self.number} ended; see {self.run_dir}/log"
            self.text += piece
        return self.next()

    def look(self):
        """Reads what it has said, without waiting for more."""
        while select.select([self.process.stdout], [], [], 0)[0]:
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                break
            self.text += piece
        while b"\n" in self.text:
            self.next()

    def next(self):
        line, self.text = self.text.split(b"\n", 1)
        line = line.decode()
        if line.startswith("live="):
            self.state = dict(re.findall(r"(\w+)=(\w+)", line))
        return line

    def until(self, **wanted):
        """Waits for a state that has these words; that state."""
        wanted = {key: str(value) for key, value in wanted.items()}
        while not wanted.items() <= self.state.items():
            self.line()
        return self.state

    def kill(self):
        self.process.kill()
        self.process.wait()

    def jail(self):
        """The outer process of the VM's jail."""
        return jail_of(f"--vm={self.run_dir}/vms/{self.uid}")

    def vmm(self):
        """gemel-vmm itself."""
        return children(children(self.jail())[0])[0]

    def kill_vm(self):
        kill_jail(self.jail)

    def lose_power(self):
        """All of the node, in the order in which each could do least harm to the test: at once."""
        self.process.send_signal(signal.SIGSTOP)
        self.node.signal(signal.SIGSTOP)
        self.kill_vm()
        self.node.kill()
        self.kill()

    def freeze_for(self, seconds):
        """The whole node stands still, but for its clock."""
        pids = [self.process.pid, self.node.process.pid, self.vmm()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def console(self):
        """The journal's lines, from the VM's first on; waits for a VM that is being started."""
        return console_of(self.run_dir / "vms" / self.uid)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.kill_vm()


class Console:
    def __init__(self, folder):
        self.socket = socket.socket(socket.AF_UNIX)
        here = os.open(folder, os.O_PATH)
        try:
            self.socket.connect(f"/proc/self/fd/{here}/console.sock")
        finally:
            os.close(here)
        self.socket.settimeout(keeper.PATIENCE)
        self.socket.sendall(struct.pack("<Q", 0))
        self.text = b""
        while len(self.text) < 8:
            self.text += self.socket.recv(8 - len(self.text))
        self.text = b""
        self.acknowledged = 0

    def line(self):
        while b"\n" not in self.text:
            piece = self.socket.recv(65536)
            if not piece:
                return None  # it has ended
            self.text += piece
        line, self.text = self.text.split(b"\n", 1)
        line = line.decode(errors="replace")
        if match := re.fullmatch(r"ack (\d+)", line):
            self.acknowledged = int(match[1])
        return line

    def number(self, word):
        """Of the next line that begins with it."""
        last = None
        while (line := self.line()) is not None:
            if line.startswith(f"{word} "):
                return int(line.split()[1])
            last = line
        raise AssertionError(f"the console ended without {word!r}, after {last!r}")

    def last(self):
        """The highest acknowledgement of a VM that has ended."""
        while self.line() is not None:
            pass
        return self.acknowledged


class Pair:
    """Nodes 1 (A) and 2 (B); the machine runs on A, and B would have it."""

    def __init__(self, etcd, folder):
        self.etcd = etcd
        self.folder = pathlib.Path(folder)
        self.disk = self.folder / "disk.img"
        self.disk.write_bytes(bytes(SECTORS * 512))
        self.keepers, self.daemons = [], []
        for number in (1, 2):
            home = self.folder / f"node{number}"
            home.mkdir()
            endpoints = nearest(etcd, number)
            self.keepers.append(keeper.Keeper(home, endpoints, number).start())
            self.daemons.append(Daemon(home, number, self.keepers[-1], etcd, self.folder,
                                       disk=self.disk_of(number)).start())
        self.a, self.b = self.daemons
        self.a.want("run")
        self.a.until(live=1, process="running", record="running", owner=1)
        self.b.until(live=1)

    def disk_of(self, _number):
        """As node `number` calls it."""
        return self.disk

    def written(self):
        """The highest number on the disk."""
        content = self.disk.read_bytes()
        return max(struct.unpack_from("<Q", content, at * 512)[0] for at in range(SECTORS))

    def until(self, condition, what):
        end = time.monotonic() + keeper.PATIENCE
        while not condition():
            assert time.monotonic() < end, (what, self.a.state, self.b.state)
            time.sleep(0.01)

    def until_written_beyond(self, number):
        self.until(lambda: self.written() > number, f"a record beyond {number}")

    def close(self):
        for daemon in self.daemons:
            daemon.close()
        for node in self.keepers:
            node.close()
