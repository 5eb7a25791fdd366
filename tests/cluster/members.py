"""Members of etcd on this machine, three if nothing is said, to be killed, frozen and set back."""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/check"))
import unpacked  # noqa: E402

ETCD = unpacked.program("etcd-server", "etcd")
# As DESIGN has them: an election takes about a second.
SETTINGS = ("--heartbeat-interval", "100", "--election-timeout", "500", "--pre-vote=true",
            "--initial-cluster-state", "new", "--log-level", "warn")


def addresses():
    """One a member, of this process alone, in 127/8: so no port clashes."""
    pid = os.getpid()
    return [f"127.{101 + i}.{pid >> 8 & 255}.{pid & 255}" for i in range(3)]


class Etcd:
    """Members 0, 1 and so on, one in each of `places`. `tls`: a folder of certificates.py's; clients must
    show theirs. `inside(i)`: the words before member i's command, if it has a place of its own. `memory`:
    where their disks are."""

    def __init__(self, tls=None, places=None, inside=lambda i: [], memory=None):
        if memory is None and os.access("/dev/shm", os.W_OK):
            memory = "/dev/shm"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gemel-etcd-", dir=memory))
        self.tls = tls
        self.addresses = places or addresses()
        self.inside = inside
        self.processes = [None] * len(self.addresses)

    def endpoints(self):
        return [f"{address}:2379" for address in self.addresses]

    def start(self, *which):
        for i in which or range(len(self.processes)):
            self.processes[i] = subprocess.Popen(
                [*self.inside(i), ETCD, *self.words(i)], stdin=subprocess.DEVNULL,
                stdout=open(self.folder / f"log{i}", "ab"), stderr=subprocess.STDOUT)
        return self

    def words(self, i):
        client = f"{'https' if self.tls else 'http'}://{self.addresses[i]}:2379"
        peers = [f"http://{address}:2380" for address in self.addresses]
        words = ["--name", f"m{i}", "--data-dir", self.folder / f"m{i}",
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
                 "--initial-cluster", ",".join(f"m{n}={peer}" for n, peer in enumerate(peers)),
                 *SETTINGS]
        if self.tls:
            words += ["--cert-file", self.tls / "cert.pem", "--key-file", self.tls / "key.pem",
                      "--trusted-ca-file", self.tls / "ca.pem", "--client-cert-auth"]
        return words

    def signal(self, number, *which):
        for i in which:
            self.processes[i].send_signal(number)

    def freeze(self, *which):
        self.signal(signal.SIGSTOP, *which)

    def thaw(self, *which):
        self.signal(signal.SIGCONT, *which)

    def kill(self, *which):
        self.signal(signal.SIGKILL, *which)
        for i in which:
            self.processes[i].wait()

    def close(self):
        self.kill(*(i for i, process in enumerate(self.processes) if process))
        shutil.rmtree(self.folder)

    def backup(self):
        """A copy of all disks, made while nobody writes to them."""
        everybody = range(len(self.processes))
        self.freeze(*everybody)
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        for i in everybody:
            shutil.copytree(self.folder / f"m{i}", self.folder / "backup" / f"m{i}")
        self.thaw(*everybody)

    def revert(self):
        """All disks are what they were at the backup; nobody was told."""
        everybody = range(len(self.processes))
        self.kill(*everybody)
        for i in everybody:
            shutil.rmtree(self.folder / f"m{i}")
            shutil.copytree(self.folder / "backup" / f"m{i}", self.folder / f"m{i}")
        self.start()

    # What a client without gRPC can ask, by etcd's HTTP gateway.

    def connection(self, i):
        if not self.tls:
            return http.client.HTTPConnection(self.addresses[i], 2379, timeout=2)
        context = ssl.create_default_context(cafile=self.tls / "ca.pem")
        context.load_cert_chain(self.tls / "cert.pem", self.tls / "key.pem")
        return http.client.HTTPSConnection(self.addresses[i], 2379, timeout=2, context=context)

    def ask(self, i, path, body):
        connection = self.connection(i)
        try:
            connection.request("POST", f"/v3/{path}", json.dumps(body))
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"etcd: {found}")
        return found

    def call(self, path, body, seconds=30):
        """Asks one member after the other until one answers."""
        end = time.monotonic() + seconds
        while True:
            for i in range(len(self.processes)):
                try:
                    return self.ask(i, path, body)
                except (OSError, http.client.HTTPException) as error:
                    last = error
            if time.monotonic() > end:
                raise last
            time.sleep(0.05)

    def put(self, key, value):
        """The revision that it was put at."""
        done = self.call("kv/put", {"key": text(key), "value": text(value)})
        return int(done["header"]["revision"])

    def get(self, key):
        found = self.call("kv/range", {"key": text(key)}).get("kvs", [])
        return base64.b64decode(found[0]["value"]) if found else None

    def member(self, i):
        """Its id."""
        return self.ask(i, "maintenance/status", {})["header"]["member_id"]

    def leader(self):
        """The number of the member that leads."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for i in range(len(self.processes)):
                try:
                    status = self.ask(i, "maintenance/status", {})
                except (OSError, http.client.HTTPException):
                    continue
                if status.get("leader", "0") == status["header"]["member_id"]:
                    return i
            time.sleep(0.05)
        raise TimeoutError("no member leads")


def text(value):
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
