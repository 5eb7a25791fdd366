"""Runs a VMM with the guest of tests/guests/bench and says what guest and host saw of it.

The guest prints "bench: begin" and "bench: end" with a moment of quiet beside what it measures, so
that CPU clocks read on those lines count all of it and nothing else of the device.
"""

import contextlib
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time

TIMEOUT = 60
VCPU = re.compile(r"vcpu-\d+|CPU \d+/KVM")


class LoadFailed(Exception):
    """A run ended without a result; the message has the command line and what it printed."""


def realtime():
    """The words before a command that keep other work of this machine out of its way, if allowed; then
    this process has a higher priority still, as it must look at clocks in time."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    except PermissionError:
        return []
    return ["chrt", "--fifo", "1"]


def tasks(pid):
    return list(pathlib.Path(f"/proc/{pid}/task").iterdir())


def family(pid):
    """The process and all that it has started. Threads may end meanwhile."""
    found = [pid]
    for task in tasks(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text(encoding="ascii").split():
                found += family(int(child))
    return found


def cpu_of(pid):
    """(all, vCPU threads): nanoseconds that the process's family has run. The clocks of processes know
    of threads that have ended, and count io_uring's kernel threads."""
    total = vcpu = 0
    members = family(pid)
    for member in members:
        total += time.clock_gettime_ns(~member << 3 | 2)  # CPUCLOCK_SCHED of a process
        for task in tasks(member):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if VCPU.fullmatch((task / "comm").read_text(encoding="utf-8").strip()):
                    vcpu += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total + sum(map(vhost_cpu, members)), vcpu


def vhost_cpu(pid):
    """Nanoseconds of the kernel thread that moves the process's frames; since Linux 6.4 it is a thread
    of the process itself."""
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if comm.read_text(encoding="utf-8").strip() == f"vhost-{pid}":
                return time.clock_gettime_ns(~int(comm.parent.name) << 3 | 2)
    return 0


def run(argv, during=None):
    """The guest's result with "cpu_ns" (all threads) and "device_cpu_ns" (all but those of vCPUs).

    during(): called when the guest begins, and what it returns when it has ended.
    """
    process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)
    said = []
    try:
        return _watch(process, said, during)
    except (LoadFailed, OSError, KeyError, ValueError) as error:
        words = " ".join(map(str, argv))
        raise LoadFailed(f"{words}: {error}\n" + "\n".join(said[-20:])) from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def _watch(process, said, during):
    began = ended = finish = result = None
    for line in _lines(process):
        said.append(line)
        if line == "bench: begin":
            began = cpu_of(process.pid)
            finish = during() if during else None
        elif line == "bench: end":
            ended = cpu_of(process.pid)
            if finish:
                finish()
        elif line.startswith("{"):
            result = json.loads(line)
    process.wait(TIMEOUT)
    if not result or not began or not ended:
        raise LoadFailed(f"no result, status {process.returncode}")
    if result["errors"]:
        raise LoadFailed(f"{result['errors']} errors")
    result["cpu_ns"] = ended[0] - began[0]
    result["device_cpu_ns"] = result["cpu_ns"] - (ended[1] - began[1])
    return result


def _lines(process):
    """Complete lines of its output, at once when they are there."""
    deadline = time.monotonic() + TIMEOUT
    pending = b""
    while True:
        if not select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise LoadFailed(f"no end within {TIMEOUT} s")
        more = os.read(process.stdout.fileno(), 65536)
        if not more:
            return
        *lines, pending = (pending + more).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").strip()
