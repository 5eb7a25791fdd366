#!/usr/bin/python3
"""Three or five nodes and no witness, on a network of their own (lan.py): each has a member of etcd, a
gemel-keeper and a gemeld. Their machines are journals, each on a disk of its own on one target, whose log of
accepted writes says who wrote what. Tells one story, in namespaces that end with it:

    many.py FOLDER STORY

Prints what came of it as one line of JSON; what the programs logged is then in FOLDER.
"""

import collections
import dataclasses
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import traceback

import held_link
import nemesis

SECTORS = 16384  # more than a guest writes in any of these stories: no sector is written twice
PACE_MS = 50
NEED_MIB = 51  # what a machine of 32 MiB needs, rounded up
TRIES = 3
GOOD = 0


class Door(held_link.Link):
    """The cable of one node to the target: what the target has accepted goes into the log that all cables share."""

    def __init__(self, port, address, name, log):
        self.name, self.log, self.asked = name, log, {}
        super().__init__(port, address)

    def note_commands(self, far, commands):
        for pdu in filter(held_link.is_write, commands):
            lba = struct.unpack_from(">I" if pdu[32] == 0x2a else ">Q", pdu, 34)[0]
            self.asked[far, pdu[16:20]] = (pdu[9], lba)

    def note_answers(self, far, answers):
        for pdu in answers:
            if pdu[0] & 0x3f != held_link.SCSI_RESPONSE:
                continue
            found = self.asked.pop((far, pdu[16:20]), None)
            if found and (pdu[2], pdu[3]) == (0, GOOD):
                self.accepted(far, *found)

    def accepted(self, _far, lun, number):
        self.log.add(self.name, lun, number)


class Log:
    """Of each LUN: (node, number) of what was accepted, in the order of the target's answers."""

    def __init__(self):
        self.lock = threading.Lock()
        self.writes = collections.defaultdict(list)

    def add(self, node, lun, number):
        with self.lock:
            self.writes[lun].append((node, number))

    def wrong(self):
        """What must never be: a list of sentences."""
        found = []
        with self.lock:
            for lun, writes in self.writes.items():
                gone, before = set(), (writes[0][0], 0)
                for one in writes:
                    same = one[0] == before[0]
                    if not same:
                        gone.add(before[0])
                    # One that was paused sends again what had no answer; one that takes over goes on behind
                    # all that is on the disk.
                    right = one[1] - before[1] in (0, 1) if same else one[1] > before[1]
                    if not right or one[0] in gone:
                        found.append(f"LUN {lun}: {one} after {before}")
                    before = one
        return found[:10]


class Many:
    """`rooms`: for how many machines each node has room. `machines`: how many there are."""

    def __init__(self, folder, rooms, machines):
        self.names = "abcde"[:len(rooms)]
        self.lan = lan.Lan(self.names)
        self.etcd = members.Etcd(places=[self.lan.address(name) for name in self.names],
                                 inside=lambda i: self.lan.inside(self.names[i]), memory=folder).start()
        self.etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1))
        self.target = iscsi_target.Target(folder, SECTORS * 512, luns=machines).start()
        self.log = Log()
        self.nodes, self.consoles, self.uids, self.places = {}, {}, {}, {}
        for number, (name, room) in enumerate(zip(self.names, rooms), 1):
            door = Door(self.target.port, self.lan.address("x"), name, self.log)
            words = folder / f"{name}.toml"
            words.write_text(f"""memory_capacity = "{room * NEED_MIB}M"
[iscsi_targets.san]
portal = "{self.lan.address("x")}:{door.port}"
iqn = "{iscsi_target.NAME}"
""")
            self.nodes[name] = gemeld_node.GemeldNode(
                folder, number, name, self.etcd, ("--config", words), inside=self.lan.inside(name)).start()
        for node in self.nodes.values():
            node.until_member_of(len(rooms))

    def create(self, number, node, **policy):
        """Machine `number`, preferred on that node; it runs there."""
        messages = gemeld.v1("virtual_machines")
        daemon = self.nodes[node].daemon
        lun = messages.DiskAttachment(iscsi=messages.IscsiLun(target="san", lun=number))
        spec = daemon.spec("journal", f"pace={PACE_MS}", disks=[lun],
                           failover=messages.FailoverSpec(preferred_node=f"nodes/{node}", **policy))
        spec.machine_type = "server-1"  # a disk on PCI
        daemon.well(daemon.create(f"vm-{number}", run=True, spec=spec))
        self.uids[number] = self.nodes[node].until("RUNNING", node, vm(number)).uid
        self.consoles[number] = self.nodes[node].console(self.uids[number])
        self.consoles[number].number("ack")

    def lose(self, name):
        """All of a node at once: nobody hears a word of it."""
        self.lan.cut(name)
        self.lan.cut(name, "x")
        self.nodes[name].lose_power()
        self.etcd.kill(self.names.index(name))
        del self.nodes[name]

    def until_run(self, numbers):
        """Waits until all that are left agree on which of them each of these machines runs; {machine: node}."""
        places = {}
        running = gemeld.v1("virtual_machines").VIRTUAL_MACHINE_STATE_RUNNING

        def agreed():
            for number in numbers:
                found = [node.get(vm(number)).status for node in self.nodes.values()]
                if {status.state for status in found} != {running}:
                    return False
                names = {status.node.removeprefix("nodes/") for status in found}
                if len(names) != 1 or not names <= self.nodes.keys():
                    return False
                places[number] = names.pop()
            return True
        next(iter(self.nodes.values())).daemon.until(agreed)
        return places

    def look(self, places, lost):
        """What is wrong with machines that are to run there since others were lost."""
        found = []
        for number, name in places.items():
            acknowledged = self.consoles[number].last() if number in lost else 0
            self.consoles[number] = self.nodes[name].console(self.uids[number])
            begin = self.consoles[number].number("begin")
            if begin <= acknowledged:
                found.append(f"vm-{number} begins with {begin}, {acknowledged} was acknowledged")
            self.consoles[number].number("ack")
            here = [one for one, node in self.nodes.items() if node.jail(self.uids[number])]
            if here != [name]:
                found.append(f"vm-{number} is at {here}, not at {name}")
        return found + self.log.wrong()

    def starts(self):
        """How often each machine was started, by all nodes together."""
        counts = collections.Counter()
        for node in "abcde"[:len(self.names)]:
            text = (self.folder_of(node) / "log").read_text(encoding="utf-8", errors="replace")
            counts.update(int(number) for number in re.findall(r"machine (\d+) starts here in epoch", text))
        return counts

    def folder_of(self, name):
        return self.target.folder / name / "gemeld"

    def close(self):
        for node in self.nodes.values():
            node.lose_power()
        self.target.stop()
        self.etcd.close()
        self.lan.close()


def vm(number):
    return f"projects/p/vms/vm-{number}"


def by_node(places):
    return dict(sorted(collections.Counter(places.values()).items()))


def expect(outcome, what, found, wanted):
    """It may be missed by a machine short of processors."""
    if found != wanted and not outcome.missed:
        outcome.missed = f"{what}: {found}, not {wanted}"


# ---- the stories ---------------------------------------------------------------------------------


def three_lose_one(folder, outcome):
    """By what room they have: 5 and 3, so 4 and 2."""
    many = Many(folder, (8, 5, 3), 6)
    numbers = range(1, 7)
    for number in numbers:
        many.create(number, "a")
    many.lose("a")
    places = many.until_run(numbers)
    outcome.wrong += many.look(places, numbers)
    expect(outcome, "machines by node", by_node(places), {"b": 4, "c": 2})
    expect(outcome, "starts", set(many.starts().values()), {2})
    return many


def three_lose_one_network(folder, outcome):
    """The node lives on, and reaches the target: what it still had is refused, and it ends its own."""
    many = Many(folder, (8, 5, 3), 4)
    numbers = range(1, 5)
    for number in numbers:
        many.create(number, "a")
    many.lan.cut("a")
    a = many.nodes.pop("a")
    places = many.until_run(numbers)
    many.lan.heal()
    a.daemon.until(lambda: not any(a.jail(many.uids[number]) for number in numbers))
    outcome.wrong += many.look(places, numbers)
    expect(outcome, "machines by node", by_node(places), {"b": 3, "c": 1})
    expect(outcome, "starts", set(many.starts().values()), {2})
    many.nodes["a"] = a
    a.until("RUNNING", places[1], vm(1))
    return many


def five_lose_two(folder, outcome):
    """One after the other. Machines 1 and 3 are kept apart, and 4 is of a group that comes after all others."""
    many = Many(folder, (6, 6, 3, 3, 3), 6)
    for number, node in ((1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b"), (6, "b")):
        group = "pair" if number in (1, 3) else ""
        many.create(number, node, priority=int(number == 4), anti_affinity_group=group)
    outcome.wrong += lose_and_look(many, "a", [1, 2, 4])
    expect(outcome, "first", many.places, {1: "c", 2: "b", 3: "b", 4: "d", 5: "b", 6: "b"})
    outcome.wrong += lose_and_look(many, "b", [number for number, name in many.places.items() if name == "b"])
    expect(outcome, "machines by node", by_node(many.places), {"c": 2, "d": 2, "e": 2})
    return many


def lose_and_look(many, node, numbers):
    """Loses the node that had these machines."""
    many.lose(node)
    many.places = many.until_run(range(1, 7))
    wrong = many.look({number: many.places[number] for number in numbers}, numbers)
    if many.places[1] == many.places[3]:
        wrong.append(f"machines that are kept apart are on one node: {many.places}")
    return wrong


STORIES = {story.__name__: story for story in (three_lose_one, three_lose_one_network, five_lose_two)}


def inside(folder, name):
    """In the namespaces."""
    outcome = nemesis.Outcome(name)
    work = pathlib.Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "many", work], check=True)
    while outcome.tries < TRIES and not outcome.wrong:
        outcome.tries += 1
        outcome.missed = ""
        here = work / str(outcome.tries)
        here.mkdir()
        many = None
        try:
            many = STORIES[name](here, outcome)
        except (AssertionError, OSError, TimeoutError):
            outcome.missed = traceback.format_exc()
        if outcome.passed():
            break
        nemesis.keep_logs(here, folder)
        if many is None:
            break  # what it left behind ends with these namespaces
        many.close()
    return outcome


def run(folder, name):
    process = nemesis.start(folder, name, program=__file__)
    return nemesis.outcome_of(process, name, folder)


if __name__ == "__main__":
    if os.getpid() != 1:
        os.execvp(nemesis.NAMESPACES[0], [*nemesis.NAMESPACES, "/usr/bin/python3", "-B", *sys.argv])
    import gemeld_node  # these need a build
    import keeper
    import lan
    import members
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
    import iscsi_target
    gemeld = gemeld_node.gemeld
    result = inside(pathlib.Path(sys.argv[1]), sys.argv[2])
    print(json.dumps(dataclasses.asdict(result)), flush=True)
    os._exit(0)  # everything else in these namespaces ends with it
