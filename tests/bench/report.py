"""Turns what ./bench measured into Markdown, and puts it into docs/BENCHMARKS.md."""

import os
import platform
import re
import statistics
import subprocess
import time

NAMES = {"gemel": "Gemel", "qemu": "QEMU microvm"}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def failover(runs):
    """Milliseconds, of {who leads etcd: [{phase: seconds}]}."""
    names = list(next(iter(runs.values()))[0])
    rows = []
    for role, found in runs.items():
        for name in names:
            values = sorted(run[name] * 1000 for run in found)
            rows.append([role, name, len(values), f"{values[0]:.0f}", f"{statistics.median(values):.0f}",
                         f"{values[-1]:.0f}"])
    worst = max(run[names[-1]] for found in runs.values() for run in found)
    few = min(map(len, runs.values()))
    enough = "" if few >= 100 else f" in these; the goal is of 100 runs a role, not {few}"
    return ("A node's packets are dropped and its processes killed; its machine runs on the other. Two "
            "nodes and a witness in namespaces, three etcd, a bare-metal guest; the disk's reservations are a file, whose "
            "answers take no time.\n\n"
            + table(["etcd's leader", "phase, ms", "runs", "least", "median", "worst"], rows)
            + f"\n\nWorst of all: {worst:.1f} s, goal ≤ 6 s: {verdict(worst <= 6)}{enough}.")


def cluster(found, options):
    """Of cluster_load.measure()."""
    rows = [[name, *(f"{found[state]['rates'][name]:,.0f}" for state in ("empty", "full"))]
            for name in found["empty"]["rates"]]
    rows += [[f"cores: {name}", *(f"{found[state]['cores'][name]:.2f}" for state in ("empty", "full"))]
             for name in found["empty"]["cores"]]
    lost = found["lost"]
    names = {"machines": "lost", "silence to fence": "fenced_ms",
             "fence to the first one taken": "first_taken_ms", "fence to all taken": "all_taken_ms",
             "fence to all running": "all_run_ms",
             "one weighing of all machines": "weigh_ms", "the longest": "longest_weigh_ms",
             "nodes that took some": "takers", "most that one took": "most_of_one",
             "transactions": "commits", "of them refused": "refused", "without an answer": "unknown"}
    losses = [[name, *(f"{one[key]:,.{int('weigh' in key)}f}" for one in lost)]
              for name, key in names.items()]
    probe, memory = found["probe"], found["memory"]
    return "\n\n".join([
        f"{options.nodes} nodes, {options.machines:,} machines with specs of {options.spec_bytes} bytes; "
        "three members of etcd, a gemel-keeper for each node, and what is gemeld's of all nodes in one program with one thread that "
        "decides; all of it on this machine. VM processes and disks are answered for at once.",
        "**A second in which nothing happens**, over all nodes and members\n\n"
        + table(["", "no machines", "all machines"], rows),
        f"**From a write to a node's view**, {options.probes} writes of a spec: the first node has it after "
        f"{probe['first_p50_ms']:.1f} ms (p99 {probe['first_p99_ms']:.1f}), the last one after "
        f"{probe['last_p50_ms']:.1f} ms (p99 {probe['last_p99_ms']:.1f}).",
        f"**All machines nobody's**: running {found['cold']['seconds']:.1f} s after nodes knew of them; "
        f"{found['cold']['commits']:,} transactions, {found['cold']['refused']:,} refused, "
        f"{found['cold']['unknown']:,} without an answer in time.",
        "**A node is lost**, one after the other; ms as one of the others sees it\n\n"
        + table(["", *(f"loss {i}" for i in range(1, len(lost) + 1))], losses),
        f"**Memory**: one node's view {memory['view_kib'] / 1024:.1f} MiB, all nodes' parts of gemeld "
        f"{memory['rss_kib'] / 1024:.0f} MiB together, a keeper {found['keeper_mib']:.1f} MiB, the largest "
        f"etcd {found['etcd_mib']:.0f} MiB."])


def verdict(reached):
    return "reached" if reached else "**not reached**"


# ---- boot ----------------------------------------------------------------------------------------

PHASES = {
    "start": "VMM start (exec to first guest entry), ms",
    "boot": "guest entry to /init, ms",
    "init": "exec to /init, ms",
    "exit": "/init to process exit, ms",
    "user": "VMM's user CPU outside the guest, ms",
    "system": "VMM's system CPU, ms",
    "guest": "CPU in the guest, ms",
    "peak": "peak RSS with guest RAM, MiB",
}


def boot(result, goals, runs):
    parts = [f"Medians of {runs} pairs in one emulated KVM host, after one pair discarded; in brackets "
             "the least and the most. What is emulated runs at about a tenth of its speed: only ratios "
             "mean something. The host compacts its memory before each run, as finding huge pages would otherwise "
             "stall whichever VMM comes next."]
    for case, samples in result["boot"].items():
        parts.append(_boot_case(case, samples, goals[case]))
    if result["memory"]:
        parts.append(_memory(result["memory"]))
    for case, counts in result["exits"].items():
        parts.append(_exits(case, counts))
    parts.append(_commands(result["commands"]))
    return "\n\n".join(parts)


def _boot_case(case, samples, goal):
    rows = []
    for phase, label in PHASES.items():
        scale = 1 / 1024 if phase == "peak" else 1
        columns = {vmm: [run[phase] * scale for run in runs] for vmm, runs in samples.items()}
        rows.append([label, *(_spread(values) for values in columns.values()), _ratio(columns)])
    text = f"**{case}**\n\n" + table(["", *(NAMES[vmm] for vmm in samples), "ratio"], rows)
    if len(samples) == 2:
        reached = [statistics.median(run["init"] for run in runs) for runs in samples.values()]
        ratio = reached[0] / reached[1]
        text += f"\n\nTo /init: {ratio:.2f} × QEMU, goal ≤ {goal}: {verdict(ratio <= goal)}."
    return text


def _spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def _ratio(columns):
    if len(columns) < 2 or not statistics.median(columns["qemu"]):
        return ""
    return f"{statistics.median(columns['gemel']) / statistics.median(columns['qemu']):.2f}"


def _memory(memory):
    rows = [[NAMES[vmm], process["name"], _mib(process["rss"]), _mib(process["private"]),
             _mib(process["guest"])] for vmm, found in memory.items() for process in found]
    text = ("**Memory after I/O** (1 vCPU, one disk and an entropy device; smaps of each process; guest "
            "RAM is the mapping as large as it)\n\n"
            + table(["", "process", "RSS without guest RAM, MiB", "of it private", "guest RAM"], rows))
    of_vm = [process for process in memory.get("gemel", ()) if process["guest"]]
    if of_vm:
        rss = of_vm[0]["rss"]
        text += f"\n\nRSS of the VM's process: {_mib(rss)} MiB, goal ≤ 4: {verdict(rss <= 4096)}."
    return text


def _mib(kib):
    return f"{kib / 1024:.1f}"


def _exits(case, counts):
    parts = [f"**Exits, {case}**: one boot each"]
    for event in next(iter(counts.values())):
        keys = {}
        for vmm, found in counts.items():
            for key, count in found[event]:
                keys.setdefault(_readable(event, key), {})[vmm] = count
        ordered = sorted(keys.items(), key=lambda pair: -max(pair[1].values()))[:14]
        total = ["all", *(sum(count for _, count in found[event]) for found in counts.values())]
        rows = [total] + [[key, *(found.get(vmm, 0) for vmm in counts)] for key, found in ordered]
        parts.append(table([event, *(NAMES[vmm] for vmm in counts)], rows))
    return "\n\n".join(parts)


# AMD's exit codes and KVM_EXIT_ reasons that a boot meets (svm.h, kvm.h).
EXIT_CODES = {0x400: "nested page fault", 0x7b: "port I/O", 0x78: "HLT", 0x72: "CPUID", 0x7c: "MSR",
              0x60: "interrupt", 0x64: "interrupt window", 0x6e: "RDTSC", 0x65: "CR0 write",
              0x81: "VMMCALL", 0x89: "WBINVD", 0x8d: "XSETBV", 0x401: "AVIC", 0x7f: "shutdown"}
USER_REASONS = {2: "port I/O", 6: "MMIO", 10: "interrupted", 24: "system event", 5: "HLT", 8: "shutdown"}


def _readable(event, key):
    values = dict(re.findall(r"(\w+): +([^\s,]+)", key))
    number = next((int(value, 0) for value in values.values() if re.match(r"(0x)?\d", value)), None)
    if event == "kvm_exit":
        return EXIT_CODES.get(number, f"code {number:#x}")
    if event == "kvm_userspace_exit":
        return USER_REASONS.get(number, f"reason {number}")
    if event == "kvm_pio":
        return f"port {number:#x} {'out' if values.get('rw') == '1' else 'in'}"
    if event == "kvm_msr":
        return f"MSR {number:#x} {'write' if values.get('write') == '1' else 'read'}"
    kind = {"0": "unsatisfied read", "1": "read", "2": "write"}.get(values.get("type"), "")
    return f"{number:#x} {kind}"


def _commands(commands):
    lines = ["Command lines (kernel and initramfs in memory, serial port to a file):", "", "```"]
    case, by_vmm = next(iter(commands.items()))
    lines += [f"{' '.join(_quoted(word) for word in argv)}" for argv in by_vmm.values()]
    return "\n".join(lines + ["```"]).replace("/dev/shm/gemel-bench/", "")


def _quoted(word):
    return f"'{word}'" if " " in word else word


# ---- start ---------------------------------------------------------------------------------------

def start(rows, runs):
    lines, notes = [], []
    for name, samples in rows:
        gemel, qemu = (_medians(samples[vmm]) for vmm in ("gemel", "qemu"))
        reference = statistics.median(sample["copy_cpu_ms"] for sample in samples["copy"])
        own = statistics.median(sample["vmm_cpu_ms"] - sample["copy_cpu_ms"]
                                for sample in samples["gemel"])
        ratio = gemel["copy_cpu_ms"] / reference
        lines.append([name, f"{own:.1f}", f"{gemel['copy_cpu_ms']:.1f}", f"{reference:.1f}",
                      f"{ratio:.2f}", f"{gemel['other_cpu_ms']:.1f}", f"{gemel['wall_ms']:.0f}",
                      f"{qemu['vmm_cpu_ms']:.1f}", f"{qemu['wall_ms']:.0f}"])
        notes.append(f"{name}: CPU without the copy {own:.1f} ms, goal ≤ 4: {verdict(own <= 4)}; copy "
                     f"{ratio:.2f} × the same pread, goal ≤ 1.1: {verdict(ratio <= 1.1)}.")
    head = ["", "gemel-vmm's CPU less the copy, ms", "copy of kernel and initrd, CPU ms",
            "the same pread into fresh huge pages, CPU ms", "ratio of the two", "gemel's CPU, ms",
            "gemel run's wall time, ms", "QEMU's CPU, ms", "QEMU's wall time, ms"]
    how = (f"Medians of {runs} runs in turn, after one discarded. CPU time of the process that calls "
           "KVM_RUN from its fork to that call, by its CPU clock; `start_probe` stops it there and "
           "around reads of 64 KiB and more (which are the copy).")
    return "\n\n".join([how, table(head, lines), *notes])


def _medians(samples):
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


# ---- micro ---------------------------------------------------------------------------------------

def micro(runs):
    rows = [[f"{program}: {name}", f"{found['cpu_time']:.0f}",
             f"{found['items_per_second'] / 1e6:.2f}" if found["items_per_second"] else ""]
            for program, by_name in runs.items() for name, found in by_name.items()]
    return "Medians of 5 repetitions.\n\n" + table(["", "CPU ns an iteration", "million items/s"], rows)


# ---- the file ------------------------------------------------------------------------------------

def with_provenance(section, command, root):
    def git(*words):
        return subprocess.run(["git", "-C", str(root), *words], stdout=subprocess.PIPE, text=True,
                              check=False).stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    if git("status", "--porcelain", "--", ".", ":!docs"):
        commit += " with changes"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = re.search(r"model name\s*: (.*)", cpuinfo.read())
    load = os.getloadavg()[1]
    return (f"{section}\n\n`{command}`, {time.strftime('%Y-%m-%d')}, commit {commit}, {os.cpu_count()} × "
            f"{model.group(1) if model else platform.machine()}, Linux {platform.release()}, load of "
            f"the last 5 minutes {load:.1f}.")


def write(path, name, text):
    """Replaces what stands between the section's two marks."""
    document = path.read_text(encoding="utf-8")
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"bench: {path} lacks the marks {begin.strip()} and {end.strip()}")
    path.write_text(before + begin + "\n" + text + "\n\n" + end + after, encoding="utf-8")
