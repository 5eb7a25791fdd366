"""./bench: what it says at the top of that file."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE / "boot"), str(HERE / "io"), str(HERE / "net"),
                str(HERE / "linux"), str(HERE / "api"), str(HERE / "failover"), str(HERE / "cluster")]
import api_load
import cluster_load
import disk_load
import failover_load
import guest_load
import images
import linux_load
import net_load
import report

QUIET = "console=ttyS0 quiet reboot=t panic=-1"
CONSOLE = "console=ttyS0 reboot=t panic=-1"
PEER = "qemu-system-x86_64"


class Failed(Exception):
    pass


def main():
    options = parse_arguments()
    try:
        section = {"boot": boot, "start": start, "io": disk, "net": net,
                   "linux": linux, "api": api, "failover": failover, "cluster": cluster, "micro": micro}[options.verb](options)
    except (Failed, images.ImageError, guest_load.LoadFailed,
            linux_load.LoadFailed, cluster_load.Failed) as error:
        sys.exit(f"bench: {error}")
    text = report.with_provenance(section, "./bench " + " ".join(sys.argv[1:]), ROOT)
    print("\n" + text)
    if options.write:
        report.write(ROOT / "docs/BENCHMARKS.md", options.verb, text)


def parse_arguments():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--build", type=pathlib.Path, metavar="DIR",
                        help="a build folder to measure as it is (otherwise build-bench is built)")
    common.add_argument("--write", action="store_true", help="put the result in docs/BENCHMARKS.md")
    parser = argparse.ArgumentParser(prog="./bench")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verb = verbs.add_parser("boot", parents=[common], help="boot, CPU and memory beside QEMU microvm")
    verb.add_argument("--runs", type=int, default=5, metavar="N",
                      help="pairs that count, after one that does not (5)")
    verb.add_argument("--case", action="append", metavar="NAME",
                      help="only this one: " + ", ".join(CASES))
    verb.add_argument("--exits", action="store_true", help="also count VM exits by kind")
    verb.add_argument("--only", choices=("gemel", "qemu"), help="only this VMM")
    verb.add_argument("--no-memory", action="store_true", help="without the memory figures")
    verb = verbs.add_parser("start", parents=[common], help="CPU time to the first KVM_RUN, here")
    verb.add_argument("--runs", type=int, default=15, metavar="N", help="after one discarded (15)")
    load = argparse.ArgumentParser(add_help=False, parents=[common])
    load.add_argument("--runs", type=int, default=5, metavar="N", help="after one discarded (5)")
    load.add_argument("--ms", type=int, default=1000, metavar="N", help="length of a run (1000)")
    load.add_argument("--fair-share", action="store_true", help="without real-time priority")
    verb = verbs.add_parser("io", parents=[load], help="virtio-blk beside QEMU and fio, here")
    verb.add_argument("--case", action="append", choices=list(disk_load.CASES), help="only this one")
    verb.add_argument("--folder", default="/var/tmp", metavar="DIR",
                      help="where the disk's file is; not on tmpfs (/var/tmp)")
    verb = verbs.add_parser("net", parents=[load], help="virtio-net beside QEMU, here; needs root")
    verb.add_argument("--case", action="append", choices=list(net_load.CASES), help="only this one")
    verb.add_argument("--only", action="append", choices=list(net_load.NAMES),
                      help="only this one")
    verb = verbs.add_parser("linux", parents=[common],
                            help="fio and iperf3 in Debian guests beside QEMU, in an emulated KVM host")
    verb.add_argument("--runs", type=int, default=3, metavar="N", help="after one discarded (3)")
    verb.add_argument("--seconds", type=int, default=5, metavar="N", help="length of a run (5)")
    verb.add_argument("--case", action="append", choices=list(linux_load.CASES), help="only this one")
    verb = verbs.add_parser("api", parents=[common], help="gemeld's calls, here; needs root")
    verb.add_argument("--calls", type=int, default=200, metavar="N",
                      help="of List and Create; ten times as many of Get (200)")
    verb.add_argument("--folder", default="/var/tmp", metavar="DIR",
                      help="where its state is; not on tmpfs (/var/tmp)")
    verb = verbs.add_parser("failover", parents=[common],
                            help="loss of power to service elsewhere; needs root")
    verb.add_argument("--runs", type=int, default=10, metavar="N", help="for each who leads etcd (10)")
    verb = verbs.add_parser("cluster", parents=[common],
                            help="many nodes and machines: etcd's load, latency, decisions, here; needs root")
    for name, number, what in (("nodes", 50, "nodes"), ("machines", 5000, "machines"),
                               ("spec-bytes", 800, "bytes of a machine's spec"),
                               ("seconds", 20, "length of a quiet time"),
                               ("probes", 500, "writes that are followed"),
                               ("losses", 5, "nodes that are lost, one after the other")):
        verb.add_argument(f"--{name}", type=int, default=number, metavar="N", help=f"{what} ({number})")
    verb.add_argument("--folder", default="/var/tmp", metavar="DIR",
                      help="where etcd's data is; not on tmpfs (/var/tmp)")
    verb = verbs.add_parser("micro", parents=[common], help="Google Benchmarks of tests/bench")
    verb.add_argument("--filter", default=".", metavar="REGEX", help="--benchmark_filter")
    return parser.parse_args()


# ---- ./bench boot --------------------------------------------------------------------------------

# Name -> which kernel, its command line, and the most that Gemel may take of QEMU's time to /init.
CASES = {
    "small": ("small", QUIET, 0.8),
    "small-console": ("small", CONSOLE, 0.8),
    "debian": ("debian", QUIET, 0.95),
    "debian-console": ("debian", CONSOLE, 0.95),
}
DEFAULT_CASES = ("small", "debian", "small-console")
LONGEST_RUN = 60  # seconds that a boot takes on a busy machine; an emulated host can get stuck


def boot(options):
    kernels = {"small": lambda: images.small_kernel() / "vmlinux", "debian": images.debian_kernel}
    cases = {}
    for name in options.case or DEFAULT_CASES:
        if name not in CASES:
            raise Failed(f"--case {name}: there are {', '.join(CASES)}")
        kernel, cmdline, _ = CASES[name]
        cases[name] = {"kernel": str(kernels[kernel]()), "initrd": str(images.initramfs()),
                       "cmdline": cmdline}
    programs = {}
    if options.only != "qemu":
        programs["gemel"] = str(program(options, "cli/gemel"))
    if options.only != "gemel":
        programs["qemu"] = f"/usr/bin/{PEER}"
    small = next((name for name in cases if name.startswith("small")), None)
    plan = {"programs": programs, "cases": cases, "runs": options.runs,
            "memory": None if options.no_memory else small, "exits": options.exits,
            "result": "/results/result.json"}
    result = in_host(plan, LONGEST_RUN * len(programs) * len(cases) * (options.runs + 2))
    goals = {name: goal for name, (_, _, goal) in CASES.items()}
    return report.boot(result, goals, options.runs)


def in_host(plan, limit):
    """What measure.py finds in an emulated host, perhaps not all of it, within `limit` seconds."""
    with tempfile.TemporaryDirectory(prefix="gemel-bench-") as folder:
        path = pathlib.Path(folder) / "plan.json"
        path.write_text(json.dumps(plan))
        command = [ROOT / "tests/kvmhost/run", "--disk", "1G", "--results", folder,
                   "--timeout", limit, "--",
                   "/usr/bin/python3", "-B", HERE / "boot/measure.py", path]
        status = subprocess.run([str(word) for word in command], check=False).returncode
        written = pathlib.Path(folder) / "result.json"
        if not written.exists():
            raise Failed(f"measure.py ended with status {status}, with nothing measured")
        if status != 0:
            print(f"bench: measure.py ended with status {status}; what there is:", file=sys.stderr)
        return json.loads(written.read_text())


# ---- ./bench start -------------------------------------------------------------------------------

def start(options):
    need_kvm(options)
    import vmms
    probe = program(options, "tests/bench/start_probe")
    kernel, small_initrd = images.small_kernel() / "vmlinux", images.initramfs()
    with tempfile.TemporaryDirectory(prefix="gemel-bench-", dir="/dev/shm") as folder:
        large_initrd = pathlib.Path(folder) / "initrd"
        large_initrd.write_bytes(os.urandom(45 << 20))
        rows = []
        for name, initrd in (("small kernel", small_initrd), ("with 45 MiB initrd", large_initrd)):
            guest = vmms.Guest(str(kernel), str(initrd), QUIET)
            commands = {"gemel": vmms.gemel(str(program(options, "cli/gemel")), guest),
                        "qemu": vmms.qemu(PEER, guest)}
            samples = {"gemel": [], "qemu": [], "copy": []}
            for run in range(options.runs + 1):
                found = {vmm: probed([probe, "run", *argv]) for vmm, argv in commands.items()}
                found["copy"] = probed([probe, "copy", kernel, initrd])
                for key, value in found.items() if run > 0 else ():
                    samples[key].append(value)
            rows.append((name, samples))
    return report.start(rows, options.runs)


def probed(argv):
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            return json.loads(line)
    raise Failed(f"{' '.join(map(str, argv))}: status {done.returncode}\n{done.stderr[-1000:]}")


# ---- ./bench io, ./bench net ---------------------------------------------------------------------

BENCH_GUEST = "tests/guests/guest-bench"


def disk(options):
    need_kvm(options)
    return disk_load.measure(program(options, "cli/gemel"), program(options, BENCH_GUEST), options)


def net(options):
    need_kvm(options)
    if os.geteuid() != 0:
        raise Failed("net: a network namespace and a tap need root")
    return net_load.measure(program(options, "cli/gemel"), program(options, BENCH_GUEST),
                            program(options, "tests/bench/frames"), options)


def linux(options):
    return linux_load.measure(program(options, "cli/gemel"), options)


def api(options):
    if os.geteuid() != 0:
        raise Failed("api: gemeld needs root")
    gemeld = program(options, "grpc/gemeld")
    return api_load.measure(gemeld.parents[1], options)


def failover(options):
    need_kvm(options)
    if os.geteuid() != 0:
        raise Failed("failover: namespaces need root")
    build = program(options, "tests/cluster/cluster_node").parents[2]
    runs = {role: [failover_load.measure(build, role) for _ in range(options.runs)]
            for role in failover_load.ROLES}
    return report.failover(runs)


def cluster(options):
    build = program(options, "tests/bench/many_nodes").parents[2]
    with tempfile.TemporaryDirectory(prefix="gemel-cluster-", dir=options.folder) as folder:
        return report.cluster(cluster_load.measure(build, folder, options), options)


def need_kvm(options):
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Failed(f"{options.verb}: /dev/kvm cannot be opened")


# ---- ./bench micro -------------------------------------------------------------------------------

MICRO = ("queue_bench", "blk_bench")


def micro(options):
    runs = {}
    for name in MICRO:
        done = subprocess.run(
            [str(program(options, f"tests/bench/{name}")), f"--benchmark_filter={options.filter}",
             "--benchmark_format=json", "--benchmark_repetitions=5",
             "--benchmark_enable_random_interleaving=true"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise Failed(f"{name}: status {done.returncode}")
        samples = {}
        for entry in json.loads(done.stdout)["benchmarks"]:
            if entry["run_type"] == "iteration":
                entry["cpu_time"] *= {"ns": 1, "us": 1e3, "ms": 1e6}[entry["time_unit"]]
                samples.setdefault(entry["run_name"], []).append(entry)
        runs[name] = {run: {key: statistics.median(entry.get(key, 0) for entry in entries)
                            for key in ("cpu_time", "items_per_second")}
                      for run, entries in sorted(samples.items())}
    return report.micro(runs)


# ---- the programs measured -----------------------------------------------------------------------

_built = False


def program(options, name):
    """A program of the build folder, which is brought up to date first unless --build names one."""
    global _built
    folder = options.build or ROOT / "build-bench"
    if options.build is None and not _built:
        if not (folder / "build.ninja").exists():
            call(["meson", "setup", folder, "-Dbench=true"])
        call(["ninja", "-C", folder])
        _built = True
    path = folder / name
    if not path.exists():
        raise Failed(f"{path} is not there: --build wants a folder made with -Dbench=true")
    return path.absolute()


def call(argv):
    if subprocess.run([str(word) for word in argv], cwd=ROOT, check=False,
                      stdout=sys.stderr).returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))} failed")


if __name__ == "__main__":
    main()
