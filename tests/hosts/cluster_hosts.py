"""A cluster of whole hosts: two nodes and a witness in three emulated hosts, each with a member of etcd, the
nodes with gemel-keeper and gemeld, and one machine on a target that both nodes reach. Outside the hosts are
the target, the door that logs what it accepts, and the observer that hears what the guest acknowledges.

etcd is not asked by TLS: these hosts are slow, and a handshake takes them longer than a heartbeat may.

What is done to it is said in words, as in tests/cluster/world.py. Hosts are called by what they are when a
row begins: "owner" (of the machine), "other", "witness".
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import struct
import threading
import time

import iscsi_target
import keeper
import kvmhost
import lan
import members
import nemesis
import node
from channel import HostDied
from epoch_door import EpochDoor

HERE = pathlib.Path(__file__).resolve().parent
BUILD = keeper.BUILD
GEMEL = BUILD / "cli/client/gemel-client"
SECTORS = 1024
SECTOR = 512
PACE_MS = 100
OUTSIDE = "10.77.0.254"
PATIENCE = 180  # seconds after which a wait is a failure: of hosts that are ten times as slow as this machine
QUIET = 3       # in which a guest that runs would have written several times
NODES = (1, 2)
WITNESS = 3
OPEN = 1  # CLUSTER_SESSION_STATE_OPEN
ROLES = ("owner", "other", "witness")
PREPARE = """
mkdir -p /disk/state /var/lib/gemel /run/gemel /etc/gemel
mount --bind /disk/state /var/lib/gemel
cp /results/$(uname -n).toml /etc/gemel/cluster.toml
"""
# The path to the disk is left.
ISOLATE = "for host in 1 2 3; do [ $host = $KVMHOST_NODE ] || ip route {} blackhole 10.77.0.$host/32; done"


@contextlib.contextmanager
def network_of(lab):
    """The calling thread is there, with the threads and sockets that it makes."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(lab.namespace(), os.O_RDONLY)
    try:
        lan.enter_network(there)
        yield
    finally:
        lan.enter_network(home)
        os.close(there)
        os.close(home)


class Observer:
    """Hears the guest, in whichever host it is. What it is told stays told, whatever becomes of the host."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = []  # (number, node)
        self.wrong = []

    def listen_to(self, host):
        """From now on until the host ends."""
        job = host.start([str(HERE / "console_relay.py"), "/run/gemel/vms"], cwd="/")
        threading.Thread(target=self.hear_all, args=(host.node, job), daemon=True).start()

    def hear_all(self, node, job):
        left = b""

        def on_output(_, piece):
            nonlocal left
            *lines, left = (left + piece).split(b"\n")
            for line in lines:
                self.hear(node, line.decode(errors="replace"))
        with contextlib.suppress(HostDied):
            job.wait(on_output)

    def hear(self, node, line):
        match = re.fullmatch(r"(ack|begin) (\d+)", line)
        if not match:
            return
        number = int(match[2])
        with self.lock:
            most = max((known for known, _ in self.acknowledged), default=0)
            if match[1] == "ack":
                self.acknowledged.append((number, node))
            elif number <= most:
                self.wrong.append(f"host{node}: the guest begins with {number}, {most} was acknowledged")

    def heard(self):
        with self.lock:
            return list(self.acknowledged)


class ClusterHosts:
    """Made, it runs its machine. `folder`: for its disk and for logs."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.observer = Observer()
        self.frozen, self.clocks, self.isolated = set(), set(), set()  # hosts' numbers
        self.roles = {"owner": 1, "other": 2, "witness": WITNESS}
        self.starts_before = 0
        self.everything = contextlib.ExitStack()
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self):
        variables = {"HOME": "/run", "GEMEL_BUILD": str(BUILD),
                     "GEMEL_DIAL": str(BUILD / "helpers/dial/gemel-dial")}
        self.lab = self.everything.enter_context(kvmhost.Lab(
            hosts=3, memory="1536M", disk="512M", results=str(self.folder), env=variables))
        self.build_target()
        self.build_etcd()
        for host in self.lab.hosts:
            self.prepare(host)
        with network_of(self.lab):
            self.etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1))
        self.until(self.is_well, "both nodes have a session")
        self.create_machine()

    def build_target(self):
        """Ended before the lab is, whose network it is in."""
        inside = ("setpriv", "--pdeathsig", "KILL", "--", "nsenter", f"--net={self.lab.namespace()}")
        self.target = iscsi_target.Target(self.folder, SECTORS * SECTOR, inside=inside)
        self.everything.callback(lambda: self.target.process and self.target.stop())
        self.target.start()
        with network_of(self.lab):
            self.door = EpochDoor(self.target.port, OUTSIDE, SECTORS)
        self.everything.callback(self.door.close)
        (self.folder / "gemeld.toml").write_text(f"""[iscsi_targets.san]
portal = "{OUTSIDE}:{self.door.port}"
iqn = "{iscsi_target.NAME}"
""", encoding="utf-8")

    def build_etcd(self):
        """Its words, and the file of each node that names its members; their data is on the hosts' disks."""
        self.etcd = members.Etcd(places=[host.address for host in self.lab.hosts], memory=self.folder)
        self.etcd.folder = pathlib.Path("/disk")
        for host in self.lab.hosts:
            name = f"host{host.node}"
            words = map(str, self.etcd.words(host.node - 1))
            (self.folder / f"{name}.etcd").write_text("\n".join([members.ETCD, *words]), encoding="utf-8")
            endpoints = json.dumps(node.nearest(self.etcd, host.node))
            (self.folder / f"{name}.toml").write_text(
                f'cluster = "test"\nname = "{name}"\nnode = {host.node}\nendpoints = {endpoints}\n',
                encoding="utf-8")

    def prepare(self, host):
        """What a host needs that has just booted; its /disk has the rest."""
        programs = "etcd" if host.node == WITNESS else "etcd gemel-keeper gemeld"
        host.run(["bash", "-ec", f"{PREPARE}\n{HERE}/begin {programs}"], cwd="/", check=True)
        if host.node != WITNESS:
            self.observer.listen_to(host)

    def create_machine(self):
        spec = {"machine_type": "server-1", "memory": {"size_bytes": 32 << 20},
                "boot": {"kernel": str(BUILD / "tests/guests/guest-journal"),
                         "command_line": f"pace={PACE_MS}"},
                "disks": [{"iscsi": {"target": "san", "lun": 1}}],
                "failover": {"max_restarts": 1000}}  # each row loses it once or twice
        (self.folder / "web.json").write_text(json.dumps({"spec": spec}), encoding="utf-8")
        words = ("vm", "create", "web", "--project", "p", "--file", "/results/web.json", "--start")
        # While a leader is elected no change is taken, or it is not known whether it was.
        self.until(lambda: self.is_made(self.try_gemel(self.host(1), *words)), "the machine is made")
        self.until(self.observer.heard, "the machine writes")

    @staticmethod
    def is_made(done):
        said = done.stderr.decode()
        again = any(words in said for words in ("may have been done", "majority", "Deadline"))
        assert done.returncode == 0 or again or "exists" in said, said
        return done.returncode == 0 or "exists" in said

    def close(self):
        self.everything.close()

    # What it is asked.

    def host(self, word):
        """By its number, or by what it was when the row began."""
        return self.lab.host(self.roles.get(word, word))

    @staticmethod
    def try_gemel(host, *words):
        return host.run([str(GEMEL), *map(str, words)], cwd="/", timeout=PATIENCE)

    def is_well(self):
        """Both nodes have a session, and all members of etcd answer. Asked outside: commands cost a host much."""
        if not self.etcd_is_well():
            return False
        with network_of(self.lab):
            sessions = [self.etcd.get(f"/gemel/nodes/session/{number}") for number in NODES]
        return all(value and keeper.session(value)[2] == OPEN for value in sessions)

    def etcd_is_well(self):
        """All three members answer, and know who leads."""
        with network_of(self.lab):
            try:
                return all(self.etcd.ask(i, "maintenance/status", {}).get("leader", "0") != "0"
                           for i in range(len(self.lab.hosts)))
            except (OSError, http.client.HTTPException):
                return False

    @staticmethod
    def until(condition, what, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"never: {what}"
            time.sleep(1)

    # What a row is made of: nemesis.run() asks for these.

    def begin(self):
        """All is well, and who has the machine is the owner."""
        self.do_heal()
        self.until(self.is_well, "all is well")
        assert self.settle("any", PATIENCE), self.describe()
        owner = self.door.log[-1].node
        self.roles = {"owner": owner, "other": 3 - owner, "witness": WITNESS}
        self.starts_before = self.count_starts()
        self.door.late.clear()

    def do(self, text):
        verb, *words = text.split()
        getattr(self, "do_" + verb)(*words)

    def do_wait(self, seconds):
        time.sleep(float(seconds))

    def do_power_off(self, *names):
        for name in names:
            self.host(name).power_cut()
            for harmed in (self.frozen, self.clocks, self.isolated):
                harmed.discard(self.host(name).node)

    def do_power_on(self, *names):
        """They boot side by side."""
        hosts = [self.host(name) for name in names]
        for host in hosts:
            host.launch()
        for host in hosts:
            host.wait_up()
            self.prepare(host)

    def do_pause(self, name):
        """By QMP: no clock of its moves."""
        self.host(name).freeze(kvmhost.PAUSED)

    def do_stop(self, name):
        """SIGSTOP: its clocks jump ahead when it goes on."""
        self.host(name).freeze(kvmhost.STOPPED)

    def do_go_on(self, name):
        self.host(name).thaw()

    def do_rate(self, name, percent):
        host = self.host(name)
        self.clocks.add(host.node)
        host.set_clock_rate(int(percent))

    def do_step(self, name, seconds):
        host = self.host(name)
        self.clocks.add(host.node)
        host.step_clock(int(seconds))

    def do_freeze_disk(self, *names):
        for name in names:
            self.host(name).freeze_disk()
            self.frozen.add(self.host(name).node)

    def do_thaw_disk(self, *names):
        for name in names:
            self.host(name).thaw_disk()
            self.frozen.discard(self.host(name).node)

    def do_isolate(self, name):
        """It sends nothing to other members, and reaches its disk."""
        self.isolated.add(self.host(name).node)
        self.host(name).run(["sh", "-c", ISOLATE.format("add")], cwd="/", check=True)

    def do_gone(self, name):
        """Until no machine's process is there."""
        self.until(lambda: self.host(name).run(["pgrep", "-x", "gemel-vmm"], cwd="/").returncode == 1,
                   f"the machine's process of {name} ends")

    def do_no_late_write(self):
        """Nothing came to the disk from an owner that was shut out: none was refused, since none was sent."""
        if self.door.late:
            raise nemesis.Missed(f"sent after the disk was taken: {self.door.late[:5]}")

    def do_heal(self):
        for host in self.lab.hosts:
            host.thaw()
        for number in list(self.isolated):
            self.host(number).run(["sh", "-c", ISOLATE.format("del")], cwd="/", check=True)
            self.isolated.discard(number)
        self.do_thaw_disk(*self.frozen)
        for number in list(self.clocks):
            self.host(number).set_clock_rate(100)
            self.host(number).step_clock(round(time.time() - self.real_time(number)))
            self.clocks.discard(number)
        off = [host.node for host in self.lab.hosts if host.state == kvmhost.OFF]
        self.do_power_on(*off)

    def real_time(self, number):
        return float(self.host(number).run(["date", "+%s.%N"], cwd="/", check=True).stdout)

    def settle(self, where, within):
        """Waits until the machine goes on at one of `where` ("owner", "other", "any"), or nowhere if that is
        ""; where, or None if that did not come."""
        end = time.monotonic() + within
        written, heard = len(self.door.log), len(self.observer.heard())
        while time.monotonic() < end:
            time.sleep(0.05)
            if not where:
                if self.is_still():
                    return "nowhere"
                continue
            numbers = NODES if where == "any" else (self.roles[where],)
            here = [one.node for one in self.door.log[written:]][-2:]
            acknowledged = [number for _, number in self.observer.heard()[heard:]][-1:]
            if here in [[number, number] for number in numbers] and acknowledged == here[1:]:
                return where
        return None

    def is_still(self):
        written = len(self.door.log)
        time.sleep(QUIET)
        return len(self.door.log) == written

    def count_starts(self):
        """How often a guest was started, not counting what only went on."""
        logs = [self.folder / f"host{number}.gemeld.log" for number in NODES]
        return sum(log.read_text(encoding="utf-8", errors="replace").count(" starts here in epoch ")
                   for log in logs)

    def starts(self):
        """Since the row began, and the one before."""
        return self.count_starts() - self.starts_before + 1

    def wrong_at(self, _where):
        return []

    def wrong(self):
        """What must never be: a list of sentences."""
        acknowledged = self.observer.heard()
        log = list(self.door.log)
        found = self.door.wrong() + self.observer.wrong
        accepted = {(write.number, write.node) for write in log}
        lost = [one for one in acknowledged if one not in accepted]
        if lost:
            found.append(f"acknowledged, and the disk never had it (number, node): {lost[:3]}")
        newest = max((number for number, _ in acknowledged), default=0)
        content = self.target.content(0, SECTORS * SECTOR)
        for number, _ in acknowledged:
            there, = struct.unpack_from("<Q", content, number % SECTORS * SECTOR)
            # A sector is written again after a lap: some of the oldest may just have been.
            if newest - number < SECTORS - 100 and there != number:
                found.append(f"{number} was acknowledged, and the disk has {there} in its place")
        return found[:10]

    def describe(self):
        return {"hosts": self.lab.describe(), "roles": self.roles, "log": self.door.log[-3:],
                "heard": self.observer.heard()[-3:], "late": self.door.late[-3:]}
