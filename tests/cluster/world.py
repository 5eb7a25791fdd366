"""Two nodes and a witness on a network of their own (lan.py), and everything that can be done to them.

    a, b   a node: member of etcd, gemel-keeper, cluster_node, and the machine's VM where it runs
    w      the witness: a member of etcd
    s      the disk, if it is on a target
    x      this process, which no cut concerns: it is the observer outside

A world needs a process of its own in namespaces of its own (nemesis.py makes them), and ends with it.
"""

import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import time

import front_door
import keeper
import lan
import members
import node
import shared_target
import throttle

SECTORS = 16384  # more than a guest writes in any of these tests: the disk is the log of what it accepted
PACE_MS = 10
NODES = "ab"
MEMBERS = "abw"
FENCING = 2  # CLUSTER_VM_STATE_FENCING
KEY = 24  # bytes of a key in the file of reservations, the holder's last
QUIET = 0.5  # seconds in which a guest that runs would have written


class Observer:
    """Hears what the guest on one node says, whichever process it is in, and never waits."""

    def __init__(self, number, daemon):
        self.number, self.daemon = number, daemon
        self.socket = None
        self.begun, self.acknowledged = [], []

    def look(self):
        while self.socket or self.connect():
            try:
                piece = self.socket.recv(65536)
            except BlockingIOError:
                return
            except ConnectionError:
                piece = b""
            if not piece:  # that process has ended
                self.socket.close()
                self.socket = None
                continue
            self.text += piece
            if self.place:  # where the text begins, which is at its beginning
                taken = min(self.place, len(self.text))
                self.place -= taken
                self.text = self.text[taken:]
            *lines, self.text = self.text.split(b"\n")
            for line in lines:
                self.hear(line.decode(errors="replace"))

    def connect(self):
        try:
            here = os.open(self.daemon.run_dir / "vms" / self.daemon.uid, os.O_PATH)
        except OSError:
            return False
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(f"/proc/self/fd/{here}/console.sock")
            one.sendall(struct.pack("<Q", 0))
        except OSError:
            one.close()
            return False
        finally:
            os.close(here)
        self.socket, self.text, self.place = one, b"", 8
        return True

    def hear(self, line):
        if match := re.fullmatch(r"(ack|begin) (\d+)", line):
            (self.begun if match[1] == "begin" else self.acknowledged).append(int(match[2]))

    def last(self):
        return self.acknowledged[-1] if self.acknowledged else 0


def node_and_epoch(text, at):
    number, _, epoch = struct.unpack_from("<I4xQQ", text, at)
    return number, epoch


class World:
    """`disk`: which kind, as nemesis_table.Row has them."""

    def __init__(self, folder, disk="file", sectors=SECTORS, keeper_command=(keeper.PROGRAM,)):
        self.seen_wrong = []
        self.folder = pathlib.Path(folder)
        self.lan = lan.Lan(MEMBERS + "s")
        self.etcd = members.Etcd(places=[self.lan.address(name) for name in MEMBERS],
                                 inside=lambda i: self.lan.inside(MEMBERS[i]), memory=folder).start()
        self.etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1))
        self.target = disk == "target"
        if self.target:
            self.door = shared_target.SharedTarget(self.folder, sectors, self.lan)
        else:
            image = self.folder / "disk.img"
            image.write_bytes(bytes(sectors * 512))
            takes_from = {"file": lambda _: True, "refuses": lambda number: self.owner()[0] == number,
                          "registrants": lambda number: number in self.registered()}[disk]
            self.door = front_door.FrontDoor(image, self.owner, takes_from)
        self.keepers, self.daemons, self.observers = {}, {}, {}
        self.last_reservations = []
        self.harmed = {}  # what is stopped or down: (part, name) -> "stop", or "kill"
        self.stopped = {}  # pids of VMs that were stopped
        self.throttled = {}
        for number, name in enumerate(NODES, 1):
            home = self.folder / f"node{number}"
            home.mkdir()
            place = self.door.word() if self.target else home / "disk"
            if not self.target:
                self.door.open(number, place)
            inside = self.lan.inside(name)
            self.keepers[name] = keeper.Keeper(home, node.nearest(self.etcd, number), number,
                                               command=[*inside, *keeper_command]).start()
            self.daemons[name] = node.Daemon(home, number, self.keepers[name], self.etcd, self.folder,
                                             [f"pace={PACE_MS}"], [*inside, node.PROGRAM],
                                             disk=place).start()
            self.observers[name] = Observer(number, self.daemons[name])
        if not self.target:
            self.door.start()

    def begin(self):
        """The machine runs on a, and b would have it."""
        self.daemons["a"].want("run")
        assert self.settle("a", keeper.PATIENCE), self.describe()
        self.daemons["b"].until(live=1)
        self.daemons["b"].want("run")

    # What is done to it, in words: "cut a b", "kill etcd leader", "wait 0.5". See the table.

    def do(self, text):
        verb, *words = text.split()
        getattr(self, "do_" + verb)(*words)

    def name(self, word):
        if word in ("leader", "follower"):
            leader = self.etcd.leader()
            return MEMBERS[leader if word == "leader" else (leader + 1) % 3]
        return word

    def do_wait(self, seconds):
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            self.look()
            time.sleep(0.01)

    def do_cut(self, one, other="*", way="both"):
        self.lan.cut(self.name(one), self.name(other), way == "both")

    def do_join(self, one="*", other="*"):
        self.lan.join(self.name(one), self.name(other))

    def do_heal_network(self):
        self.lan.heal()

    def do_lose(self, part, one, other="*"):
        self.lan.lose(float(part), one, other)

    def do_slow(self, seconds, one, other="*", way="both"):
        self.lan.slow(float(seconds), self.name(one), other, way == "both")

    def do_slow_disk(self, seconds, name):
        self.door.slow(NODES.index(name) + 1, float(seconds))

    def do_hold_disk(self, name):
        self.door.hold(NODES.index(name) + 1)

    def do_heal_disk(self):
        self.door.heal()

    def do_throttle(self, part, name):
        """Its gemel-vmm has that part of a processor."""
        self.throttled[name] = throttle.Throttle(self.vm(name), float(part))

    def do_unthrottle(self):
        while self.throttled:
            self.throttled.popitem()[1].end()

    def do_stop_target(self):
        self.door.stop()

    def do_kill_target(self):
        self.door.kill()

    def do_power_off(self, *names):
        for name in names:
            self.lan.cut(name)
        for name in names:
            self.do_stop("all", name)
        for name in names:
            self.do_kill("all", name)

    def do_power_on(self, *names):
        for name in names:
            self.lan.join(name)
            self.do_start("all", name)

    def parts(self, part, name):
        if part != "all":
            return [part]
        return ["etcd"] if name == "w" else ["vmm", "daemon", "keeper", "etcd"]

    def do_stop(self, part, name):
        """SIGSTOP."""
        name = self.name(name)
        for one in self.parts(part, name):
            self.harm(one, name, signal.SIGSTOP)

    def do_go_on(self, part, name):
        for one in self.parts(part, name):
            if self.harmed.get((one, name)) == "stop":
                self.harm(one, name, signal.SIGCONT)

    def do_kill(self, part, name):
        name = self.name(name)
        for one in self.parts(part, name):
            self.harm(one, name, signal.SIGKILL)

    def harm(self, part, name, number):
        if self.harmed.get((part, name)) == "kill":
            return
        if part == "vmm":
            self.harm_vm(name, number)
        else:
            process = self.process(part, name)
            process.send_signal(number)
            if number == signal.SIGKILL:
                process.wait()
                if part == "daemon":
                    self.daemons[name].look()
                    self.daemons[name].state = {}
        if number == signal.SIGCONT:
            del self.harmed[(part, name)]
        elif part != "vmm" or number == signal.SIGSTOP:
            self.harmed[(part, name)] = "kill" if number == signal.SIGKILL else "stop"

    def harm_vm(self, name, number):
        self.observers[name].look()
        if number == signal.SIGKILL:
            self.harmed.pop(("vmm", name), None)
            return self.daemons[name].kill_vm()
        if number == signal.SIGSTOP:
            self.stopped[name] = self.vm(name)
        try:
            if self.stopped[name]:
                os.kill(self.stopped[name], number)
        except ProcessLookupError:
            pass

    def vm(self, name):
        """The pid of its gemel-vmm, or None."""
        try:
            return self.daemons[name].vmm()
        except (IndexError, OSError, TypeError):
            return None

    def process(self, part, name):
        if part == "etcd":
            return self.etcd.processes[MEMBERS.index(name)]
        return (self.keepers if part == "keeper" else self.daemons)[name].process

    def do_start(self, part, name):
        """What was killed."""
        names = [name] if name != "killed" else [n for (p, n), how in self.harmed.items()
                                                 if p == part and how == "kill"]
        for name in names:
            for one in reversed(self.parts(part, name)):
                if self.harmed.get((one, name)) != "kill":
                    continue  # well, or stopped: that ends with go_on
                del self.harmed[(one, name)]
                if one == "etcd":
                    self.etcd.start(MEMBERS.index(name))
                else:
                    (self.keepers if one == "keeper" else self.daemons)[name].start()

    def do_compact(self):
        """Many revisions, all but the last of them forgotten."""
        for i in range(50):
            revision = self.etcd.put("/other", str(i))
        self.etcd.call("kv/compaction", {"revision": revision, "physical": True})

    def do_alarm(self, name, action="ACTIVATE"):
        """As etcd does when its disk is full."""
        i = MEMBERS.index(name)
        self.etcd.call("maintenance/alarm", {"action": action, "memberID": self.etcd.member(i),
                                             "alarm": "NOSPACE"})

    def do_calm(self, name):
        self.do_alarm(name, "DEACTIVATE")

    def do_backup(self):
        self.etcd.backup()

    def do_restore(self, incarnation):
        self.etcd.revert()
        self.etcd.put("/gemel/nodes/incarnation", keeper.incarnation(int(incarnation)))

    def do_until(self, name, *words):
        """Until that node says so of itself: "until b record=fencing"."""
        wanted = dict(word.split("=") for word in words)
        daemon = self.daemons[name]
        end = time.monotonic() + keeper.PATIENCE
        while not wanted.items() <= daemon.state.items():
            assert time.monotonic() < end, f"never {words}: {self.describe()}"
            daemon.line()

    def do_fence_slowly(self, name):
        """Until that node has written down that it takes the machine, and asks the disk, which says nothing
        before answer_fence."""
        self.asked = os.open(self.folder / "reservations", os.O_RDWR)
        fcntl.flock(self.asked, fcntl.LOCK_EX)
        end = time.monotonic() + keeper.PATIENCE
        while self.record() != (self.daemons[name].number, FENCING):
            assert time.monotonic() < end, f"never fencing: {self.describe()}"
            self.look()
            time.sleep(0.02)

    def do_answer_fence(self):
        os.close(self.asked)

    def do_lose_preempts(self):
        (self.folder / "reservations.lossy").touch()

    def do_find_preempts(self):
        (self.folder / "reservations.lossy").unlink()

    def do_check_credit(self, name):
        """Cuts the node off right after a heartbeat of its, whose answer is on its way: its page may last until
        T_own after that, and no longer."""
        connection = self.keepers[name].connect()
        key = f"/gemel/nodes/beat/{self.daemons[name].number}"
        last = self.etcd.get(key)
        end = time.monotonic() + 5
        while self.etcd.get(key) == last:
            assert time.monotonic() < end, f"no heartbeat: {self.describe()}"
        self.lan.cut(name, both=False)
        cut = keeper.now_us()
        latest = 0
        while keeper.now_us() < cut + 2 * keeper.T_OWN_US and not connection.page.poisoned():
            latest = max(latest, connection.page.deadline())
            time.sleep(0.005)
        connection.close()
        if latest > cut + keeper.T_OWN_US:
            self.seen_wrong.append(f"the page of {name} lasts {latest - cut} us "
                                   "from when etcd can have heard")

    def record(self):
        """(owner, state) of the machine, in etcd."""
        _, cluster = keeper.messages()
        value = cluster.ClusterValue.FromString(self.etcd.get("/gemel/vms/1"))
        return value.vm.owner, value.vm.state

    def do_heal(self):
        """All that was harmed."""
        self.lan.heal()
        self.door.heal()
        self.do_unthrottle()
        for part, name in list(self.harmed):
            self.do_go_on(part, name)
        for name in MEMBERS:
            self.do_start("all", name)

    # What becomes of it.

    def look(self):
        for name in NODES:
            if ("daemon", name) not in self.harmed:
                self.daemons[name].look()
            self.observers[name].look()

    def runs_on(self, name, since):
        """Whether its guest has gone on since then (acknowledgements), there and not at the other."""
        other = "b" if name == "a" else "a"
        return (self.says(name, "process") == "running" and self.says(name, "record") == "running" and
                len(self.observers[name].acknowledged) > since[name] + 1 and
                self.says(other, "process") != "running")

    def says(self, name, word):
        """What a daemon that is well says of that; None of another."""
        return None if ("daemon", name) in self.harmed else self.daemons[name].state.get(word)

    def runs_nowhere(self):
        return all(self.says(name, "process") != "running" for name in NODES)

    def acknowledged(self):
        return {name: len(self.observers[name].acknowledged) for name in NODES}

    def settle(self, where, within):
        """Waits until the machine runs at one of `where` ("a", "b", "ab") or, if that is "", nowhere;
        where, or None if that did not come."""
        since = self.acknowledged()
        end = time.monotonic() + within
        while time.monotonic() < end:
            self.look()
            for name in where:
                if self.runs_on(name, since):
                    return name
            if not where and self.runs_nowhere() and self.is_still():
                return "nowhere"
            time.sleep(0.01)
        return None

    def is_still(self):
        before = self.written()
        self.do_wait(QUIET)
        return self.runs_nowhere() and self.written() == before

    def written(self):
        return len(self.door.log)

    def starts(self):
        """How often a VM was started, not counting what only went on."""
        return sum((daemon.run_dir / "log").read_text(encoding="utf-8").count(" starts here in epoch ")
                   for daemon in self.daemons.values())

    def reservations(self):
        """(node, epoch) of each that is registered, and of the holder; (0, 0): nobody."""
        try:
            with open(self.folder / "reservations", "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                text = file.read()
                self.last_reservations = [node_and_epoch(text, at) for at in range(0, len(text), KEY)]
        except BlockingIOError:  # it is being changed, or who changes it was stopped
            pass
        except FileNotFoundError:  # nobody has claimed it yet
            pass
        return self.last_reservations or [(0, 0)]

    def owner(self):
        return self.reservations()[-1]

    def registered(self):
        """The nodes that are."""
        return {number for number, _ in self.reservations()[:-1]}

    def wrong(self):
        """What must never be: a list of sentences."""
        self.look()
        accepted = self.door.accepted()
        found = self.seen_wrong + self.door.wrong()
        if len(self.door.log) * 512 >= self.door.size:
            found.append("the disk is too small for this test")
        for name, observer in self.observers.items():
            lost = [number for number in observer.acknowledged
                    if (number, observer.number) not in accepted]
            if lost:
                found.append(f"{name} acknowledged {len(lost)} records that the disk never had: {lost[:3]}")
        return found

    def wrong_at(self, name):
        """What must not be once it runs there."""
        if self.target:
            return []
        state = self.daemons[name].state
        wanted = (self.daemons[name].number, int(state["at_epoch"]))
        holds = self.owner()
        return [] if holds == wanted else [f"the disk is held by {holds}, and {wanted} runs"]

    def close(self):
        for name in MEMBERS:
            self.do_kill("all", name)
        self.do_unthrottle()
        self.lan.close()
        shutil.rmtree(self.etcd.folder)

    def describe(self):
        return {name: (self.daemons[name].state, self.observers[name].last()) for name in NODES} | {
            "harmed": {f"{part} {name}": how for (part, name), how in self.harmed.items()}}
