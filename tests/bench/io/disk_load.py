"""./bench io: virtio-blk under load, beside QEMU, and fio on the same file in the page cache."""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import time

import guest_load
import turns
import vmm_commands
from report import table, verdict

FILE_MIB = 256

# Name -> machine (vmm_commands.py), pattern, block size, queue depth, how the guest waits. No writes:
# those that the page cache takes end up measuring the host's write-back.
CASES = {
    "randread": ("mmio", "randread", 4096, 32, "poll"),
    "read-64k": ("mmio", "read", 65536, 32, "poll"),
    "randread-1": ("mmio", "randread", 4096, 1, "poll"),
    "randread-interrupt": ("mmio", "randread", 4096, 32, "interrupt"),
    "pci-randread": ("pci", "randread", 4096, 32, "poll"),
    "pci-interrupt": ("pci", "randread", 4096, 32, "interrupt"),
}
NAMES = {"gemel": "Gemel", "threads": "QEMU, iothread", "io_uring": "QEMU, iothread and io_uring",
         "fio": "fio io_uring"}
GOAL_CPU, GOAL_FIO, GOAL_CASES = 1 / 1.2, 0.9, ("randread", "pci-randread")


def measure(program, guest, options):
    """The Markdown of all cases; `program` is gemel, `guest` the bench guest."""
    before = [] if options.fair_share else guest_load.realtime()
    results, commands = {}, []
    # Not on tmpfs: io_uring hands whatever is read there to a kernel thread (no FMODE_NOWAIT).
    with tempfile.TemporaryDirectory(prefix="gemel-bench-", dir=options.folder) as folder:
        disk = pathlib.Path(folder) / "disk.raw"
        disk.write_bytes(os.urandom(FILE_MIB << 20))
        os.sync()
        for name in options.case or CASES:
            argvs = _commands(program, guest, disk, CASES[name], options.ms)
            commands = commands or list(argvs.values())
            runners = {vmm: functools.partial(_run, vmm, [*before, *argv], disk)
                       for vmm, argv in argvs.items()}
            results[name] = turns.in_turn(name, runners, options.runs)
    return _report(results, commands, turns.conditions(options.runs, options.ms, before))


def _commands(program, guest, disk, case, ms):
    machine, rw, size, depth, wait = case
    words = f"device=blk rw={rw} bs={size} qd={depth} wait={wait} ms={ms}"
    found = {"gemel": vmm_commands.gemel(machine, program, guest, words,
                                         *vmm_commands.gemel_disk(disk))}
    for aio in ("threads", "io_uring"):
        found[aio] = vmm_commands.qemu(machine, guest, words,
                                       *vmm_commands.qemu_disk(machine, disk, aio))
    if wait == "poll" and machine == "mmio":
        found["fio"] = [
            "fio", "--name=raw", f"--filename={disk}", f"--rw={rw}", f"--bs={size}",
            f"--iodepth={depth}", "--ioengine=io_uring", f"--size={FILE_MIB}M", "--time_based",
            f"--runtime={ms}ms", "--randrepeat=0", "--norandommap", "--invalidate=0",
            "--lat_percentiles=1", "--clat_percentiles=0", "--output-format=json"]
    return found


def _run(vmm, argv, disk):
    _wait_until_unlocked(disk)
    return _fio(argv) if vmm == "fio" else guest_load.run(argv)


def _wait_until_unlocked(disk):
    """The kernel lets go of a ring's files a moment after its process has ended."""
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    deadline = time.monotonic() + 10
    with open(disk, "rb+") as file:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
                return
            time.sleep(0.01)
    raise guest_load.LoadFailed(f"{disk} stays locked")


def _fio(argv):
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise guest_load.LoadFailed(f"{' '.join(map(str, argv))}: {done.stdout[-1000:]}")
    (job,) = json.loads(done.stdout)["jobs"]
    side = job["write" if job["write"]["total_ios"] else "read"]
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1e6
    latency = side["lat_ns"]["percentile"]
    return {"ops": side["total_ios"], "ns": side["runtime"] * 1e6, "p50_ns": latency["50.000000"],
            "p99_ns": latency["99.000000"], "cpu_ns": cpu, "device_cpu_ns": cpu}


# ---- the report ----------------------------------------------------------------------------------

def _iops(run):
    return run["ops"] / run["ns"] * 1e6


def _cpu(run):
    return run["device_cpu_ns"] / run["ops"]


ROWS = {
    "IOPS, thousands": _iops,
    "CPU outside the vCPU's thread, ns an I/O": _cpu,
    "CPU of all threads, ns an I/O": lambda run: run["cpu_ns"] / run["ops"],
    "latency, half of all, µs": lambda run: run["p50_ns"] / 1e3,
    "latency, 99 %, µs": lambda run: run["p99_ns"] / 1e3,
    "I/Os a kick": lambda run: run["ops"] / max(run["kicks"], 1) if "kicks" in run else None,
}


def _report(results, commands, how):
    how += (f" The disk is {FILE_MIB} MiB of random bytes in the page cache: no disk of the host is "
            "measured. fio submits and reaps one by one. QEMU is microvm for mmio, q35 for pci.")
    parts = [how]
    for case, samples in results.items():
        machine, rw, size, depth, wait = CASES[case]
        title = (f"**{rw}, {size // 1024} KiB, queue depth {depth}, guest waits by {wait}, "
                 f"virtio-{machine}**")
        head = ["", *(NAMES[name] for name in samples)]
        parts += [title, table(head, turns.rows(ROWS, samples))]
        parts += [_goals(samples)] if case in GOAL_CASES else []
    return "\n\n".join([*parts, turns.command_lines(commands)])


def _goals(samples):
    own = turns.median(samples["gemel"], _cpu)
    ratios = {name: own / turns.median(samples[name], _cpu) for name in ("threads", "io_uring")}
    text = (f"CPU outside the vCPU's thread: {ratios['threads']:.2f} × QEMU with iothread, "
            f"{ratios['io_uring']:.2f} × with io_uring too, goal ≤ {GOAL_CPU:.2f}: "
            f"{verdict(max(ratios.values()) <= GOAL_CPU)}.")
    if "fio" in samples:
        of_fio = turns.median(samples["gemel"], _iops) / turns.median(samples["fio"], _iops)
        text += f" IOPS: {of_fio:.2f} × fio, goal ≥ {GOAL_FIO}: {verdict(of_fio >= GOAL_FIO)}."
    return text
