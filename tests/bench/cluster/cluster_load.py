"""Many nodes and machines of one cluster: what etcd has to do for them, how soon a write reaches the last node,
how long a lost node's machines take to be placed. Three real members of etcd and a real gemel-keeper for each
node; what is gemeld's of each node is in one program (many_nodes.cc)."""

import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests/cluster"))
PATIENCE = 600
TICKS = os.sysconf("SC_CLK_TCK")
COUNTERS = {
    "transactions": r'grpc_server_handled_total\{[^}]*grpc_method="Txn"[^}]*\} ([\d.e+]+)',
    "reads": r'grpc_server_handled_total\{[^}]*grpc_method="Range"[^}]*\} ([\d.e+]+)',
    "events to watchers": r"etcd_debugging_mvcc_events_total ([\d.e+]+)",
    "bytes sent": r"etcd_network_client_grpc_sent_bytes_total ([\d.e+]+)",
}


class Failed(Exception):
    pass


class Program:
    def __init__(self, command, log):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(log, "wb"))
        self.text = b""

    def say(self, line):
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def hear(self):
        end = time.monotonic() + PATIENCE
        while b"\n" not in self.text:
            ready, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise Failed("many_nodes says nothing more")
            self.text += piece
        line, self.text = self.text.split(b"\n", 1)
        return json.loads(line)

    def ask(self, line):
        self.say(line)
        return self.hear()


def cpu_of(pids):
    """Seconds."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


class Cluster:
    def __init__(self, build, folder, nodes):
        os.environ["GEMEL_BUILD"] = str(build)
        import keeper  # need a build in the environment
        import members
        self.folder = pathlib.Path(folder)
        self.etcd = members.Etcd(memory=folder).start()
        self.etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1))
        endpoints = self.etcd.endpoints()
        self.keepers = []
        for number in range(1, nodes + 1):
            home = self.folder / str(number)
            home.mkdir()
            place = number % len(endpoints)
            self.keepers.append(keeper.Keeper(home, endpoints[place:] + endpoints[:place], number).start())
        self.program = Program([build / "tests/bench/many_nodes", ",".join(endpoints), self.folder, nodes],
                               self.folder / "many_nodes.log")

    def counters(self):
        found = dict.fromkeys(COUNTERS, 0.0)
        for endpoint in self.etcd.endpoints():
            with urllib.request.urlopen(f"http://{endpoint}/metrics", timeout=30) as answer:
                text = answer.read().decode()
            for name, pattern in COUNTERS.items():
                found[name] += sum(float(value) for value in re.findall(pattern, text))
        return found

    def cpu(self):
        return {"etcd (all three)": cpu_of(one.pid for one in self.etcd.processes),
                "keepers (all)": cpu_of(one.process.pid for one in self.keepers if one.process.poll() is None),
                "the rest of the nodes (all)": cpu_of([self.program.process.pid])}

    def quiet(self, seconds):
        """What a second costs in which nothing happens."""
        before, begin, counted = self.cpu(), time.monotonic(), self.counters()
        time.sleep(seconds)
        after, took = self.counters(), time.monotonic() - begin
        rates = {name: (after[name] - counted[name]) / took for name in after}
        cores = {name: (now - before[name]) / took for name, now in self.cpu().items()}
        return {"rates": rates, "cores": cores}

    def lose(self, number):
        """The power of that node."""
        self.keepers[number - 1].signal(signal.SIGKILL)
        return self.program.ask(f"lose {number}")

    def close(self):
        self.program.process.kill()
        self.program.process.wait()
        for one in self.keepers:
            if one.process.poll() is None:
                one.process.kill()
            one.process.wait()
        self.etcd.close()


def measure(build, folder, options):
    """All that is known of a cluster of options.nodes and options.machines."""
    cluster = Cluster(build, folder, options.nodes)
    try:
        found = {"members": cluster.program.ask("nodes"), "empty": cluster.quiet(options.seconds)}
        found["written"] = cluster.program.ask(f"machines {options.machines} {options.spec_bytes}")
        found["cold"] = cluster.program.hear()
        time.sleep(3)
        found["full"] = cluster.quiet(options.seconds)
        found["probe"] = cluster.program.ask(f"probe {options.probes}")
        found["lost"] = []
        for number in range(options.nodes, options.nodes - options.losses, -1):
            found["lost"].append(cluster.lose(number))
            time.sleep(3)
        found["memory"] = cluster.program.ask("memory")
        found["keeper_mib"] = resident_mib(cluster.keepers[0].process.pid)
        found["etcd_mib"] = max(resident_mib(one.pid) for one in cluster.etcd.processes)
        return found
    finally:
        cluster.close()
