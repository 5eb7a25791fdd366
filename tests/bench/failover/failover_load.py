"""How long a failover takes, from the loss of a node's power to its machine's service on the other.

Run as a program, in namespaces of its own, it measures once: failover_load.py FOLDER ROLE, where ROLE is
whose member leads etcd: owner, other or witness. Prints the phases as a line of JSON."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests/cluster"))
ROLES = {"owner": "a", "other": "b", "witness": "w"}
PHASES = ("detection", "transaction", "fence", "start", "service")
TOTAL = "in all"
SECTORS = 2048  # the guest reads them all before it begins


def measure(build, role):
    """{phase: seconds} of one failover."""
    import nemesis  # needs a build in the environment, which others have not
    with tempfile.TemporaryDirectory(prefix="gemel-failover-") as folder:
        done = subprocess.run([*nemesis.NAMESPACES, "/usr/bin/python3", "-B", __file__, folder, role],
                              env=dict(os.environ, GEMEL_BUILD=str(build)), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)
    if done.returncode != 0 or not done.stdout:
        raise RuntimeError(f"a failover was not measured: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Watch:
    """When etcd's records change, as one member that lives tells it."""

    def __init__(self, etcd, member):
        _, self.cluster = keeper.messages()
        self.seen = {}
        self.connection = etcd.connection(member)
        self.connection.timeout = None
        create = {"key": members.text("/gemel/"), "range_end": members.text("/gemel0")}
        self.connection.request("POST", "/v3/watch", json.dumps({"create_request": create}))
        self.answer = self.connection.getresponse()
        self.answer.readline()  # it watches
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while line := self.answer.readline():
            now = time.monotonic()
            for event in json.loads(line)["result"].get("events", []):
                key = base64.b64decode(event["kv"]["key"]).decode()
                value = self.cluster.ClusterValue.FromString(base64.b64decode(event["kv"].get("value", "")))
                if key == "/gemel/nodes/session/1" and value.session.state == 2:
                    self.seen.setdefault("fenced", now)
                if key == "/gemel/vms/1":
                    self.seen.setdefault(value.vm.state, now)


def lead(etcd, member):
    """Has that member lead."""
    while (leader := etcd.leader()) != member:
        etcd.ask(leader, "maintenance/transfer-leadership", {"targetID": etcd.member(member)})
        time.sleep(0.2)


def inside(folder, role):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "failover", folder], check=True)
    place = world.World(folder, sectors=SECTORS)
    lead(place.etcd, world.MEMBERS.index(ROLES[role]))
    place.begin()
    place.do("wait 1.5")
    watch = Watch(place.etcd, 1 if role != "other" else 2)
    place.do("wait 0.2")
    begin = time.monotonic()
    place.do("power_off a")
    guest = place.observers["b"]
    moments = {}
    while not guest.acknowledged:
        assert time.monotonic() < begin + 60, place.describe()
        place.look()
        if guest.begun:
            moments.setdefault("begun", time.monotonic())
        time.sleep(0.002)
    ends = [watch.seen["fenced"], watch.seen[world.FENCING], watch.seen[world.FENCING + 1], moments["begun"],
            time.monotonic()]
    wrong = place.wrong()
    assert not wrong, wrong
    found = {name: end - before for name, before, end in zip(PHASES, [begin, *ends], ends)}
    return found | {TOTAL: ends[-1] - begin}


if __name__ == "__main__":
    import keeper
    import members
    import world
    print(json.dumps(inside(pathlib.Path(sys.argv[1]), sys.argv[2])), flush=True)
    os._exit(0)  # everything else in these namespaces ends with it
