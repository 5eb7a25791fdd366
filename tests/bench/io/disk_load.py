"""./bench io: virtio-blk under load, beside QEMU and beside fio on the same file in the page cache."""

import contextlib
import fcntl
import json
import os
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

import guest_load
import vmm_commands
from report import table, verdict

FILE_MIB = 256

# Name -> pattern, block size, queue depth, how the guest waits.
CASES = {
    "randread": ("randread", 4096, 32, "poll"),
    "randwrite": ("randwrite", 4096, 32, "poll"),
    "read-64k": ("read", 65536, 32, "poll"),
    "randread-1": ("randread", 4096, 1, "poll"),
    "randread-interrupt": ("randread", 4096, 32, "interrupt"),
}
NAMES = {"gemel": "Gemel", "threads": "QEMU, iothread", "io_uring": "QEMU, iothread and io_uring",
         "fio": "fio io_uring"}
GOAL_CPU, GOAL_FIO, GOAL_CASE = 1 / 1.2, 0.9, "randread"


def measure(program, guest, options):
    """The Markdown of all cases; `program` is gemel, `guest` the bench guest."""
    before = [] if options.fair_share else guest_load.realtime()
    results = {}
    # Not on tmpfs: io_uring hands whatever is read there to a kernel thread (no FMODE_NOWAIT).
    with tempfile.TemporaryDirectory(prefix="gemel-bench-", dir=options.folder) as folder:
        disk = pathlib.Path(folder) / "disk.raw"
        disk.write_bytes(os.urandom(FILE_MIB << 20))
        os.sync()
        for name in options.case or CASES:
            runners = _runners(program, guest, disk, CASES[name], options.ms)
            results[name] = _in_turn(name, runners, before, disk, options.runs)
        commands = [" ".join(map(_quoted, argv)).replace(f"{folder}/", "")
                    for argv in _runners("gemel", guest.name, disk, CASES[GOAL_CASE],
                                         options.ms).values()]
    return _report(results, commands, options.runs, options.ms, before)


def _runners(program, guest, disk, case, ms):
    rw, size, depth, wait = case
    words = f"device=blk rw={rw} bs={size} qd={depth} wait={wait} ms={ms}"
    found = {"gemel": vmm_commands.gemel(program, guest, words, *vmm_commands.gemel_disk(disk))}
    for aio in ("threads", "io_uring"):
        found[aio] = vmm_commands.qemu(guest, words, *vmm_commands.qemu_disk(disk, aio))
    if wait == "poll":
        found["fio"] = [
            "fio", "--name=raw", f"--filename={disk}", f"--rw={rw}", f"--bs={size}",
            f"--iodepth={depth}", "--ioengine=io_uring", f"--size={FILE_MIB}M", "--time_based",
            f"--runtime={ms}ms", "--randrepeat=0", "--norandommap", "--invalidate=0",
            "--output-format=json"]
    return found


def _in_turn(case, runners, before, disk, runs):
    """Each runner's results, run after run; every other turn goes backwards, the first is discarded."""
    samples = {name: [] for name in runners}
    for turn in range(runs + 1):
        for name in runners if turn % 2 else reversed(runners):
            _wait_until_unlocked(disk)
            run = _fio if name == "fio" else guest_load.run
            found = run([*before, *runners[name]])
            print(f"{case} {name}{'' if turn else ' (discarded)'}: "
                  f"{found['ops'] / found['ns'] * 1e9:.0f} IOPS, "
                  f"{found['device_cpu_ns'] / found['ops']:.0f} ns CPU of the device each",
                  flush=True)
            if turn:
                samples[name].append(found)
    return samples


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
    ns = side["runtime"] * 1e6
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1e6
    latency = side["clat_ns"]["percentile"]
    return {"ops": side["total_ios"], "ns": ns, "p50_ns": latency["50.000000"],
            "p99_ns": latency["99.000000"], "cpu_ns": cpu, "device_cpu_ns": cpu}


# ---- the report ----------------------------------------------------------------------------------

ROWS = {
    "IOPS, thousands": lambda run: run["ops"] / run["ns"] * 1e6,
    "CPU outside the vCPU's thread, ns an I/O": lambda run: run["device_cpu_ns"] / run["ops"],
    "CPU of all threads, ns an I/O": lambda run: run["cpu_ns"] / run["ops"],
    "latency, half of all, µs": lambda run: run["p50_ns"] / 1e3,
    "latency, 99 %, µs": lambda run: run["p99_ns"] / 1e3,
    "I/Os a kick": lambda run: run["ops"] / max(run["kicks"], 1) if "kicks" in run else None,
}


def _report(results, commands, runs, ms, before):
    how = (f"Medians of {runs} runs of {ms} ms in turn, after one discarded; in brackets the least and "
           "the most. Guest: `tests/guests/bench`, one vCPU, virtio-mmio; "
           f"{FILE_MIB} MiB of random bytes in the page cache, so that no disk is measured.")
    how += (" All ran with real-time priority (`chrt --fifo 1`), out of the way of other work."
            if before else " Other work had its share of the machine.")
    how += (" fio reaps and submits one by one. Buffered writes io_uring gives to a kernel thread, which "
            "here shares one of the host's CPUs with the VMM's thread, as the guest spins on the other.")
    parts = [how]
    for case, samples in results.items():
        parts.append(_case(case, samples))
        parts += [_goals(samples)] if case == GOAL_CASE else []
    return "\n\n".join([*parts, "Command lines:\n\n```\n" + "\n".join(commands) + "\n```"])


def _case(case, samples):
    rw, size, depth, wait = CASES[case]
    rows = []
    for label, value in ROWS.items():
        values = {name: [value(run) for run in found] for name, found in samples.items()}
        rows.append([label, *(_spread(column) for column in values.values())])
    title = f"**{rw}, {size // 1024} KiB, queue depth {depth}, guest waits by {wait}**"
    return title + "\n\n" + table(["", *(NAMES[name] for name in samples)], rows)


def _spread(values):
    if None in values:
        return ""
    digits = 1 if statistics.median(values) < 100 else 0
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _goals(samples):
    def median(name, row):
        return statistics.median(ROWS[row](run) for run in samples[name])

    iops, cpu = list(ROWS)[:2]
    ratios = {name: median("gemel", cpu) / median(name, cpu) for name in ("threads", "io_uring")}
    worst = max(ratios.values())
    of_fio = median("gemel", iops) / median("fio", iops)
    return (f"CPU outside the vCPU's thread: {ratios['threads']:.2f} × QEMU with iothread, "
            f"{ratios['io_uring']:.2f} × with io_uring too, goal ≤ {GOAL_CPU:.2f}: "
            f"{verdict(worst <= GOAL_CPU)}. IOPS: {of_fio:.2f} × fio, goal ≥ {GOAL_FIO}: "
            f"{verdict(of_fio >= GOAL_FIO)}.")


def _quoted(word):
    return f"'{word}'" if " " in str(word) else str(word)
