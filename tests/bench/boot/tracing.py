"""The kernel's own dates of a guest's way to /init, from tracefs: the same for every VMM.

Needs root and a kernel with the kvm tracepoints. Only one VMM may run meanwhile.
"""

import os
import re
import subprocess

ROOT = "/sys/kernel/tracing"
EXEC, ENTRY, MARK = "sched/sched_process_exec", "kvm/kvm_entry", "kvm/kvm_pio"
# init.c writes this to say that it runs.
MARK_FILTER = "port == 0x3ff && val == 0x47"
# The first kvm_exit switches kvm_entry off, so that one entry is recorded and later ones cost nothing.
ONLY_FIRST_ENTRY = ("kvm/kvm_exit", "disable_event:kvm:kvm_entry:1")
# Counts by these keys; reading a counter is all that the traced process pays for.
HISTOGRAMS = {
    "kvm/kvm_exit": "exit_reason",
    "kvm/kvm_userspace_exit": "reason",
    "kvm/kvm_pio": "port,rw",
    "kvm/kvm_mmio": "gpa,type",
    "kvm/kvm_msr": "ecx,write",
}


def prepare():
    if not os.path.exists(f"{ROOT}/trace"):
        subprocess.run(["mount", "-t", "tracefs", "tracefs", ROOT], check=True)
    _write("tracing_on", "0")
    _write("trace_clock", "mono")
    for event in (EXEC, MARK):
        _write(f"events/{event}/enable", "1")


def arm():
    """Before a VMM is started."""
    _write("tracing_on", "0")
    _write("trace", "")
    _write(f"events/{MARK}/filter", MARK_FILTER)
    event, trigger = ONLY_FIRST_ENTRY
    _drop_trigger(event, trigger)
    _write(f"events/{ENTRY}/enable", "0")
    _write(f"events/{ENTRY}/enable", "1")
    _write(f"events/{event}/trigger", trigger)
    _write("tracing_on", "1")


def dates(pid):
    """After its end: seconds of CLOCK_MONOTONIC of its exec, its first entry and the mark."""
    _write("tracing_on", "0")
    found = {}
    pattern = re.compile(r"\s(\d+\.\d+): (sched_process_exec|kvm_entry|kvm_pio): (.*)")
    with open(f"{ROOT}/trace", encoding="utf-8", errors="replace") as lines:
        for match in filter(None, map(pattern.search, lines)):
            date, event, detail = match.groups()
            if event != "sched_process_exec" or f"pid={pid} " in f"{detail} ":
                found.setdefault(event, float(date))
    return found.get("sched_process_exec"), found.get("kvm_entry"), found.get("kvm_pio")


def count_exits():
    """Starts counting exits of all kinds, instead of arm()."""
    _write(f"events/{MARK}/filter", "0")
    for event, keys in HISTOGRAMS.items():
        _drop_trigger(event, f"hist:keys={keys}")
        _write(f"events/{event}/trigger", f"hist:keys={keys}")


def exits():
    """{tracepoint: [(keys, count)]} since count_exits(), most frequent first; ends the counting."""
    result = {}
    for event, keys in HISTOGRAMS.items():
        with open(f"{ROOT}/events/{event}/hist", encoding="utf-8") as lines:
            pairs = re.findall(r"^\{ (.*?) \} hitcount:\s+(\d+)", lines.read(), re.MULTILINE)
        pairs = [(" ".join(key.split()), int(count)) for key, count in pairs]
        result[event.split("/")[1]] = sorted(pairs, key=lambda pair: -pair[1])
        _drop_trigger(event, f"hist:keys={keys}")
    return result


def _drop_trigger(event, trigger):
    try:
        _write(f"events/{event}/trigger", f"!{trigger}")
    except OSError:
        pass  # there was none


def _write(name, text):
    with open(f"{ROOT}/{name}", "w", encoding="ascii") as file:
        file.write(text)
