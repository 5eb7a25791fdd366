"""./bench net: virtio-net under load, beside QEMU, on a tap in a network namespace of its own."""

import contextlib
import functools
import json
import os
import subprocess

import guest_load
import turns
import vmm_commands
from report import table

TAP = "tap0"
DEPTH = 128

# Name -> machine (vmm_commands.py), direction, bytes of a frame, frames a second (rx), how the guest
# waits.
CASES = {
    "tx": ("mmio", "tx", 1514, 0, "poll"),
    "tx-64": ("mmio", "tx", 64, 0, "poll"),
    "tx-large": ("mmio", "tx", 65000, 0, "poll"),
    "tx-interrupt": ("mmio", "tx", 1514, 0, "interrupt"),
    "rx": ("mmio", "rx", 1514, 200_000, "poll"),
    "rx-64": ("mmio", "rx", 64, 200_000, "poll"),
    "pci-tx": ("pci", "tx", 1514, 0, "poll"),
    "pci-rx": ("pci", "rx", 1514, 200_000, "poll"),
}
# Of Gemel and QEMU, with vhost off and, where the host has it, on.
NAMES = {"gemel": "Gemel, vhost=off", "qemu": "QEMU, vhost=off", "gemel-vhost": "Gemel, vhost=on",
         "qemu-vhost": "QEMU, vhost=on", "raw": "writes to the tap alone"}
TITLES = {"tx": "guest sends as fast as it can", "rx": "guest receives {rate} frames a second"}


def measure(program, guest, frames, options):
    """The Markdown of all cases; `program` is gemel, `guest` the bench guest, `frames` net/frames.cc."""
    before = [] if options.fair_share else guest_load.realtime()
    results, commands = {}, []
    with namespace() as inside:
        for name in options.case or CASES:
            argvs = _commands(program, guest, frames, CASES[name], options.ms)
            commands = commands or list(argvs.values())
            runners = {vmm: functools.partial(_run, vmm, CASES[name], inside, [*before, *argv],
                                              frames, options.ms)
                       for vmm, argv in argvs.items() if not options.only or vmm in options.only}
            results[name] = turns.in_turn(name, runners, options.runs)
    return _report(results, commands, turns.conditions(options.runs, options.ms, before))


@contextlib.contextmanager
def namespace():
    """Words before a command that run it in a new network namespace with a tap in it."""
    name = f"gemel-bench-{os.getpid()}"
    _ip("netns", "add", name)
    try:
        inside = ["ip", "netns", "exec", name]
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
        # No frames but ours.
        subprocess.run([*inside, "sysctl", "-qw", f"net.ipv6.conf.{TAP}.disable_ipv6=1"], check=True)
        _ip("-n", name, "link", "set", TAP, "up")
        yield inside
    finally:
        _ip("netns", "del", name)


def _ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


def _commands(program, guest, frames, case, ms):
    machine, direction, size, _, wait = case
    # While frames come there is no moment of quiet.
    settle = " settle=0" if direction == "rx" else ""
    words = f"device=net rw={direction} bs={size} qd={DEPTH} wait={wait} ms={ms}{settle}"
    found = {}
    for suffix, vhost in (("", "off"), ("-vhost", "on")):
        if vhost == "off" or os.path.exists("/dev/vhost-net"):
            found[f"gemel{suffix}"] = vmm_commands.gemel(machine, program, guest, words,
                                                         *vmm_commands.gemel_tap(TAP, vhost))
            found[f"qemu{suffix}"] = vmm_commands.qemu(machine, guest, words,
                                                       *vmm_commands.qemu_tap(machine, TAP, vhost))
    if direction == "tx" and wait == "poll" and machine == "mmio":
        found["raw"] = [frames, "write", TAP, size, 0, ms]
    return found


def _run(vmm, case, inside, argv, frames, ms):
    _, direction, size, rate, _ = case
    argv = [*inside, *argv]
    if vmm == "raw":
        return _raw(argv)
    sender = [*inside, frames, "send", TAP, size, rate, ms + 500]
    before = _received(inside)
    found = guest_load.run(argv, functools.partial(_start, sender) if direction == "rx" else None)
    arrived = _received(inside) - before
    if direction == "tx" and arrived < found["ops"]:
        raise guest_load.LoadFailed(f"{vmm}: {found['ops']} frames sent, {arrived} came to the tap")
    return found


def _raw(argv):
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, check=True,
                          stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    return {**found, "bytes": found["ops"] * int(argv[-3]), "device_cpu_ns": found["cpu_ns"]}


def _start(argv):
    process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)

    def finish():
        process.kill()
        process.wait()
    return finish


def _received(inside):
    """Frames that the host has had from the tap."""
    done = subprocess.run(["ip", "-n", inside[-1], "-s", "-j", "link", "show", TAP], check=True,
                          stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)[0]["stats64"]["rx"]["packets"]


# ---- the report ----------------------------------------------------------------------------------

ROWS = {
    "frames a second, thousands": lambda run: run["ops"] / run["ns"] * 1e6,
    "Gbit/s": lambda run: run["bytes"] * 8 / run["ns"],
    "CPU outside the vCPU's thread, ns a frame": lambda run: run["device_cpu_ns"] / run["ops"],
    "CPU of all threads, ns a frame": lambda run: run["cpu_ns"] / run["ops"],
    "latency, half of all, µs": lambda run: run["p50_ns"] / 1e3 if run.get("p50_ns") else None,
    "latency, 99 %, µs": lambda run: run["p99_ns"] / 1e3 if run.get("p99_ns") else None,
    "frames a kick": lambda run: run["ops"] / max(run["kicks"], 1) if "kicks" in run else None,
}


def _report(results, commands, how):
    how += (" The frames are of a kind that the host's network drops at its door, so that the way through "
            "VMM and tap is measured and no more.")
    parts = [how]
    for case, samples in results.items():
        machine, direction, size, rate, wait = CASES[case]
        title = TITLES[direction].format(rate=f"{rate:,}")
        title = f"**{title}: {size} bytes, guest waits by {wait}, virtio-{machine}**"
        head = ["", *(NAMES[name] for name in samples)]
        parts += [title, table(head, turns.rows(ROWS, samples))]
    return "\n\n".join([*parts, turns.command_lines(commands)])
