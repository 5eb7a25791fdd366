"""Runs inside the KVM host: stock Linux guests under load, one VMM after the other.

measure_linux.py PLAN: a JSON file with "cases" (name -> {vmm -> {"argv", "server"}}), "runs", "disk"
(a file to make, and its size), "result" (the file to write). What is written: case -> vmm -> a list of
{"tool": the tool's JSON, "cpu_s": CPU seconds outside the guest during the load, "guest_s": in it}.
"""

import json
import os
import select
import subprocess
import sys
import time

TIMEOUT = 180
TICKS = os.sysconf("SC_CLK_TCK")
TAP = "tap0"


class Failed(Exception):
    pass


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    prepare(plan)
    result = {case: {vmm: [] for vmm in vmms} for case, vmms in plan["cases"].items()}
    for case, vmms in plan["cases"].items():
        for turn in range(plan["runs"] + 1):
            for vmm in vmms if turn % 2 else reversed(vmms):
                found = load(vmms[vmm])
                print(f"{case} {vmm}{'' if turn else ' (discarded)'}: {found['cpu_s']:.2f} s CPU outside, "
                      f"{found['guest_s']:.2f} s in the guest", flush=True)
                if turn:
                    result[case][vmm].append(found)
        with open(plan["result"] + ".new", "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.rename(plan["result"] + ".new", plan["result"])


def prepare(plan):
    """The disk in the page cache, a tap, and room for huge pages."""
    path, size = plan["disk"]
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
    for words in (("tuntap", "add", TAP, "mode", "tap", "vnet_hdr"),
                  ("addr", "add", "10.9.0.1/24", "dev", TAP), ("link", "set", TAP, "up")):
        subprocess.run(["/usr/sbin/ip", *words], check=True)


def load(what):
    """One guest from start to end."""
    server = None
    if what["server"]:
        server = subprocess.Popen(["/usr/bin/iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    process = subprocess.Popen(what["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        return watch(process, what["argv"])
    finally:
        for one in filter(None, (process, server)):
            one.kill()
            one.wait()
        process.stdout.close()


def watch(process, argv):
    """Reads the console: CPU times at "begin" and "end", and what lies between "end" and "done"."""
    deadline, text = time.monotonic() + TIMEOUT, ""
    begun = ended = None
    while "bench: done" not in text:
        if not select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise Failed(f"nothing for {TIMEOUT} s: {' '.join(argv)}\n{text[-3000:]}")
        chunk = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
        if not chunk:
            raise Failed(f"ended: {' '.join(argv)}\n{text[-3000:]}")
        text += chunk
        if begun is None and "bench: begin" in text:
            begun = cpu_times(process.pid)
        if ended is None and "bench: end" in text:
            ended = cpu_times(process.pid)
    inside = text.partition("bench: end")[2].partition("bench: done")[0]
    try:
        tool = json.loads(inside[inside.index("{"):inside.rindex("}") + 1])
    except ValueError as error:
        raise Failed(f"no JSON: {error}\n{text[-3000:]}") from error
    outside, guest = (after - before for after, before in zip(ended, begun))
    return {"tool": tool, "cpu_s": outside, "guest_s": guest}


def cpu_times(pid):
    """Seconds of the process and its children outside the guest (with the kernel's vhost threads of theirs),
    and in it."""
    outside = guest = 0
    mine = processes_of(pid)
    for one in mine + vhost_threads(mine):
        try:
            with open(f"/proc/{one}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        in_guest = int(fields[40])
        outside += int(fields[11]) + int(fields[12]) - in_guest
        guest += in_guest
    return outside / TICKS, guest / TICKS


def processes_of(pid):
    result = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            for child in children.read().split():
                result += processes_of(int(child))
    return result


def vhost_threads(owners):
    """Linux 6.1 names them after their owner."""
    names = {f"vhost-{pid}" for pid in owners}
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm", encoding="utf-8") as comm:
                    if comm.read().strip() in names:
                        found.append(int(entry))
            except OSError:
                pass
    return found


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"measure_linux: {error}")
