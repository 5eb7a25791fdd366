"""./bench linux: Debian's fio and iperf3 in a stock Linux guest, beside QEMU, in one emulated KVM host."""

import json
import pathlib
import subprocess
import sys
import tempfile

import turns
import vmms
from report import table, verdict

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.append(str(ROOT / "tests/os"))
import initramfs  # noqa: E402

MODULES = ("net/core/failover", "drivers/net/net_failover")
DISK, DISK_MIB = "/disk/load.raw", 256
QEMU = "/usr/bin/qemu-system-x86_64"
WORDS = "console=ttyS0 quiet reboot=t panic=-1"

# Name -> load, what fio or iperf3 is to do.
CASES = {
    "randread": "load=fio rw=randread bs=4k qd=32",
    "randwrite": "load=fio rw=randwrite bs=4k qd=32",
    "read-64k": "load=fio rw=read bs=64k qd=32",
    "tcp-up": "load=iperf3 rw=up peer=10.9.0.1 address=10.9.0.2/24",
    "tcp-down": "load=iperf3 rw=down peer=10.9.0.1 address=10.9.0.2/24",
    "user-up": "load=iperf3 rw=up peer=10.0.2.2 address=10.0.2.15/24",
    "user-down": "load=iperf3 rw=down peer=10.0.2.2 address=10.0.2.15/24",
}
TITLES = {"randread": "fio: random reads, 4 KiB, queue depth 32",
          "randwrite": "fio: random writes, 4 KiB, queue depth 32",
          "read-64k": "fio: reads in order, 64 KiB, queue depth 32",
          "tcp-up": "iperf3 over a tap: the guest sends", "tcp-down": "iperf3 over a tap: the guest receives",
          "user-up": "iperf3 over user networking: the guest sends",
          "user-down": "iperf3 over user networking: the guest receives"}
NAMES = {"gemel": "Gemel", "qemu": "QEMU, iothread", "qemu-io_uring": "QEMU, iothread and io_uring",
         "gemel-vhost": "Gemel, vhost=on", "qemu-vhost": "QEMU, vhost=on"}


class LoadFailed(Exception):
    pass


def measure(gemel, options):
    """The Markdown of all cases; `gemel` is the program."""
    with tempfile.TemporaryDirectory(prefix="gemel-bench-") as folder:
        folder = pathlib.Path(folder)
        image = _image(folder)
        cases = {name: _commands(name, gemel, image, options.seconds) for name in options.case or CASES}
        plan = {"cases": cases, "runs": options.runs, "disk": [DISK, DISK_MIB << 20],
                "result": "/results/result.json"}
        (folder / "plan.json").write_text(json.dumps(plan))
        runs = sum(len(vmms) for vmms in cases.values()) * (options.runs + 1)
        command = [ROOT / "tests/kvmhost/run", "--disk", "1G", "--memory", "6G", "--results", folder,
                   "--timeout", runs * (60 + 4 * options.seconds), "--",
                   "/usr/bin/python3", "-B", HERE / "measure_linux.py", folder / "plan.json"]
        status = subprocess.run([str(word) for word in command], check=False).returncode
        written = folder / "result.json"
        if not written.exists():
            raise LoadFailed(f"measure_linux.py ended with status {status}, with nothing measured")
        return _report(json.loads(written.read_text()), cases, options)


def _image(folder):
    """Stock kernel and an initramfs with fio and iperf3."""
    made = subprocess.run([ROOT / "tests/os/make_debian_disk"], check=True, stdout=subprocess.PIPE)
    debian = pathlib.Path(made.stdout.decode().strip())
    modules = folder / "modules"
    modules.mkdir()
    for module in (debian / "modules").iterdir():
        (modules / module.name).write_bytes(module.read_bytes())
    for place in MODULES:
        initramfs.take_module(debian / "disk.img", place, modules)
    image = folder / "load.cpio"
    image.write_bytes(initramfs.build(modules, HERE / "guest-init", (), ("fio", "iperf3")))
    return ["--kernel", str(debian / "vmlinuz"), "--initrd", str(image)]


def _commands(case, gemel, image, seconds):
    words = f"{WORDS} {CASES[case]} seconds={seconds}"
    if "load=fio" in words:
        ends = {"gemel": ["--disk", f"path={DISK},engine=io_uring"]}
        for name, aio in (("qemu", "threads"), ("qemu-io_uring", "io_uring")):
            ends[name] = ["-object", "iothread,id=worker",
                          "-drive", f"file={DISK},format=raw,if=none,id=disk,aio={aio}",
                          "-device", "virtio-blk-pci,drive=disk,iothread=worker"]
    elif case.startswith("user"):
        ends = {"gemel": ["--net", "user"],
                "qemu": ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"]}
    else:
        ends = {}
        for suffix, vhost in (("", "off"), ("-vhost", "on")):
            ends[f"gemel{suffix}"] = ["--net", f"tap=tap0,vhost={vhost}"]
            ends[f"qemu{suffix}"] = [
                "-netdev", f"tap,id=net,ifname=tap0,script=no,downscript=no,vhost={vhost}",
                "-device", "virtio-net-pci,netdev=net"]
    return {name: {"argv": _argv(name, str(gemel), image, words, end), "server": "load=iperf3" in words}
            for name, end in ends.items()}


def _argv(name, gemel, image, words, end):
    if name.startswith("gemel"):
        return [gemel, "run", "--profile", "server", "--cpus", "1", "--cpu", "host", "--memory", "1G",
                "--serial", "stdio", "--on-reboot", "exit", *image, "--cmdline", words, *end]
    return [QEMU, "-M", "q35,kernel-irqchip=on", "-accel", "kvm", "-cpu", vmms.PEER_CPU, "-smp", "1",
            "-m", "1G",
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
            *(word.replace("--", "-", 1) for word in image), "-append", words, *end]


# ---- the report ----------------------------------------------------------------------------------

def _fio_side(run):
    (job,) = run["tool"]["jobs"]
    return job["write" if job["write"]["total_ios"] else "read"]


def _received(run):
    return run["tool"]["end"]["sum_received"]


FIO_ROWS = {
    "IOPS": lambda run: _fio_side(run)["iops"],
    "CPU outside the guest, µs an I/O": lambda run: run["cpu_s"] * 1e6 / _fio_side(run)["total_ios"],
    "latency, 99 %, ms": lambda run: _fio_side(run)["clat_ns"]["percentile"]["99.000000"] / 1e6,
}
TCP_ROWS = {
    "Mbit/s": lambda run: _received(run)["bits_per_second"] / 1e6,
    "CPU outside the guest, s a GB": lambda run: run["cpu_s"] * 1e9 / _received(run)["bytes"],
}
# Case -> our figure's name and the peer's, and the least ratio.
GOALS = {"tcp-up": (("gemel", "qemu", 1.2), ("gemel-vhost", "qemu-vhost", 0.95)),
         "tcp-down": (("gemel", "qemu", 1.2), ("gemel-vhost", "qemu-vhost", 0.95))}


def _report(result, cases, options):
    parts = [f"Medians of {options.runs} runs of {options.seconds} s in turn in one emulated KVM host, "
             "after one discarded; in brackets the least and the most. What is emulated runs at about a "
             "tenth of its speed: only ratios mean something. One vCPU, virtio-pci (QEMU: q35), Debian's "
             f"cloud kernel; the disk is {DISK_MIB} MiB in the page cache; iperf3's server runs in the same "
             "host."]
    for case, samples in result.items():
        if not all(samples.values()):
            continue
        rows = FIO_ROWS if "load=fio" in CASES[case] else TCP_ROWS
        names = [NAMES[name] for name in samples]
        if rows is TCP_ROWS:
            names = [name.replace(", iothread", "") for name in names]
        parts += [f"**{TITLES[case]}**", table(["", *names], turns.rows(rows, samples))]
        parts += [_goal(samples, *goal) for goal in GOALS.get(case, ())]
    first = next(iter(cases.values()))
    return "\n\n".join([*parts, turns.command_lines([one["argv"] for one in first.values()])])


def _goal(samples, own, peer, least):
    rate = TCP_ROWS["Mbit/s"]
    ratio = turns.median(samples[own], rate) / turns.median(samples[peer], rate)
    return f"{NAMES[own]}: {ratio:.2f} × QEMU's, goal ≥ {least}: {verdict(ratio >= least)}."
