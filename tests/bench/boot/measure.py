"""Runs inside the KVM host: boots guests under both VMMs in turn and writes what it saw as JSON.

measure.py PLAN: a JSON file with "programs" (VMM -> path), "cases" (name -> kernel, initrd, cmdline),
"runs", "memory" (a case's name or null), "exits" (likewise), "result" (the file to write).
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import tracing
import vmms

TIMEOUT = 180
FOLDER = "/dev/shm/gemel-bench"  # what is read and written during a run lies in memory
SERIAL = f"{FOLDER}/serial"
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    pass


@contextlib.contextmanager
def started(argv):
    """The VMM, its serial port in the file SERIAL; killed with its children if it is still there."""
    with open(SERIAL, "wb") as serial, open(f"{FOLDER}/stderr", "wb") as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=serial, stderr=errors)
    try:
        yield process
    finally:
        if process.returncode is None:
            for pid in processes_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def complain(argv, what):
    with open(SERIAL, "rb") as serial, open(f"{FOLDER}/stderr", "rb") as errors:
        tail = serial.read()[-1500:] + errors.read()[-1500:]
    raise Failed(f"{what}: {' '.join(argv)}\n{tail.decode(errors='replace')}")


def wait_for_end(process, argv):
    """Its end's date, resource usage and clock ticks spent in guest mode; reaps it."""
    deadline = time.monotonic() + TIMEOUT
    pidfd = os.pidfd_open(process.pid)
    with contextlib.closing(os.fdopen(pidfd)):
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll((deadline - time.monotonic()) * 1000):
            complain(argv, f"no end within {TIMEOUT} s")
    ended = time.monotonic()
    with open(f"/proc/{process.pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    guest_ticks = int(fields[40]) + int(fields[41])  # guest_time and cguest_time of proc(5)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        complain(argv, f"exit status {process.returncode}")
    return ended, usage, guest_ticks / TICKS


def compact_memory():
    """Now rather than in a VMM's page faults: looking for a huge page stalls one for up to 1.3 s."""
    with open("/proc/sys/vm/compact_memory", "w", encoding="ascii") as file:
        file.write("1")


def boot(argv):
    """One boot: milliseconds of each phase and of CPU time, KiB at the peak."""
    compact_memory()
    tracing.arm()
    with started(argv) as process:
        ended, usage, guest = wait_for_end(process, argv)
    executed, entered, marked = tracing.dates(process.pid)
    if None in (executed, entered, marked):
        complain(argv, f"missing in the trace: {executed=} {entered=} {marked=}")
    return {
        "start": (entered - executed) * 1e3, "boot": (marked - entered) * 1e3,
        "init": (marked - executed) * 1e3, "exit": (ended - marked) * 1e3,
        "user": max(usage.ru_utime - guest, 0) * 1e3, "system": usage.ru_stime * 1e3,
        "guest": guest * 1e3, "peak": usage.ru_maxrss,
    }


def boot_pairs(plan, case, guest):
    """plan["runs"] runs of each VMM in turn, after one of each that does not count."""
    samples = {name: [] for name in plan["programs"]}
    for run in range(plan["runs"] + 1):
        names = list(plan["programs"])
        for name in names if run % 2 else reversed(names):
            sample = boot(vmms.COMMANDS[name](plan["programs"][name], guest))
            print(f"{case} {name} {'(discarded) ' if run == 0 else ''}"
                  + " ".join(f"{key} {value:.0f}" for key, value in sample.items()), flush=True)
            if run > 0:
                samples[name].append(sample)
    return samples


def processes_of(pid):
    result = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            for child in children.read().split():
                result += processes_of(int(child))
    return result


def memory_of(pid):
    """KiB resident, without guest RAM: anonymous mappings at least nine tenths of its size."""
    result = {"rss": 0, "guest": 0, "private": 0}
    is_guest = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key == "Size":
                is_guest = int(value.split()[0]) >= vmms.MEMORY_MIB * 1024 * 9 // 10
            elif key == "Rss":
                result["guest" if is_guest else "rss"] += int(value.split()[0])
            elif key in ("Private_Clean", "Private_Dirty") and not is_guest:
                result["private"] += int(value.split()[0])
    with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
        result["name"] = comm.read().strip()
    return result


def memory_after_io(argv):
    with started(argv) as process:
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            with open(SERIAL, "rb") as serial:
                said = serial.read()
            if b"gemel-bench: io done" in said:
                return [memory_of(pid) for pid in processes_of(process.pid)]
            if b"gemel-bench: io failed" in said:
                break
            time.sleep(0.1)
        complain(argv, "no I/O")


def count_exits(argv):
    tracing.count_exits()
    with started(argv) as process:
        wait_for_end(process, argv)
    return tracing.exits()


def in_memory(path):
    target = f"{FOLDER}/{os.path.basename(path)}"
    shutil.copy(path, target)
    return target


def measure(plan, result, save):
    guests = {name: vmms.Guest(in_memory(case["kernel"]), in_memory(case["initrd"]),
                               case["cmdline"]) for name, case in plan["cases"].items()}
    tracing.prepare()
    programs = plan["programs"].items()
    for case, guest in guests.items():
        result["commands"][case] = {name: vmms.COMMANDS[name](os.path.basename(path), guest)
                                    for name, path in programs}
        if plan["runs"] > 0:
            result["boot"][case] = boot_pairs(plan, case, guest)
        if plan["exits"]:
            result["exits"][case] = {name: count_exits(vmms.COMMANDS[name](path, guest))
                                     for name, path in programs}
        save()
    if plan["memory"]:
        base = guests[plan["memory"]]
        guest = vmms.Guest(base.kernel, base.initrd, base.cmdline + " gemel_bench_io", make_disk())
        for name, path in programs:
            result["memory"][name] = memory_after_io(vmms.COMMANDS[name](path, guest))
            print(f"memory {name} {result['memory'][name]}", flush=True)
        save()


def make_disk():
    path = os.path.join(os.environ["KVMHOST_DISK"], "disk.raw")
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 << 20)
    return path


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    os.makedirs(FOLDER, exist_ok=True)
    result = {"boot": {}, "memory": {}, "exits": {}, "commands": {}}

    def save():
        with open(plan["result"] + ".new", "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.rename(plan["result"] + ".new", plan["result"])

    try:
        measure(plan, result, save)
    except Failed as error:
        sys.exit(f"measure: {error}")


if __name__ == "__main__":
    main()
