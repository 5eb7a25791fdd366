"""./bench api: how long gemeld's calls take, as a Python client of its Unix socket sees them.

A real daemon whose state is on a disk, 500 machines defined and none running. The client neither
makes nor reads messages while the clock runs: they are bytes.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEFINED = 500
WATCHERS = 100
GOALS = {"get": 5, "list": 25, "create": 50, "watch": 100}  # p99, ms
LABELS = {"get": "GetVm", "list": f"ListVms ({DEFINED})", "create": "Create",
          "watch": f"Create to the last of {WATCHERS} watching clients"}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bench:
    def __init__(self, harness, daemon):
        self.harness, self.daemon = harness, daemon
        self.vms = harness.v1("virtual_machines")
        self.made = 0

    def raw(self, method, channel=None):
        return (channel or self.daemon.channel).unary_unary(
            f"/gemel.v1.VirtualMachines/{method}", request_serializer=None,
            response_deserializer=None)

    def create_request(self):
        self.made += 1
        return self.vms.CreateVirtualMachineRequest(
            parent="projects/bench", vm_id=f"vm-{self.made}",
            virtual_machine=self.vms.VirtualMachine(spec=self.daemon.spec("idle", "", 16)),
            request_id=f"r-{self.made}").SerializeToString()

    def time(self, method, requests):
        """Milliseconds of each call; the first few do not count."""
        call, times = self.raw(method), []
        for request in requests:
            started = time.perf_counter()
            call(request)
            times.append((time.perf_counter() - started) * 1000)
        return times[len(times) // 20:]

    def get(self, runs):
        request = self.vms.GetVirtualMachineRequest(
            name="projects/bench/vms/vm-7").SerializeToString()
        return self.time("Get", [request] * runs)

    def list(self, runs):
        request = self.vms.ListVirtualMachinesRequest(
            parent="projects/bench", page_size=DEFINED).SerializeToString()
        return self.time("List", [request] * runs)

    def create(self, runs):
        return self.time("Create", [self.create_request() for _ in range(runs)])

    def watch(self, runs):
        """From sending Create until its event has reached every client, each with a connection."""
        events = self.harness.v1("events")
        watchers = [Watcher(self.harness, self.daemon, events) for _ in range(WATCHERS)]
        for watcher in watchers:
            watcher.ready.wait()
        times = []
        for _ in range(runs):
            before = [watcher.count for watcher in watchers]
            request = self.create_request()
            started = time.perf_counter()
            self.raw("Create")(request)
            while any(watcher.count == old for watcher, old in zip(watchers, before)):
                time.sleep(0.0002)
            times.append((max(watcher.last for watcher in watchers) - started) * 1000)
        for watcher in watchers:
            watcher.close()
        return times[len(times) // 20:]


class Watcher(threading.Thread):
    def __init__(self, harness, daemon, events):
        super().__init__(daemon=True)
        import grpc
        self.count, self.last = 0, 0.0
        self.ready = threading.Event()
        self.channel = grpc.insecure_channel(f"unix:{daemon.run_dir}/api.sock",
                                             options=[("grpc.use_local_subchannel_pool", 1)])
        self.stream = self.channel.unary_stream(
            "/gemel.v1.Events/Watch", request_serializer=None, response_deserializer=None)(
                events.WatchRequest(parent="projects/bench").SerializeToString())
        self.start()

    def run(self):
        self.stream.initial_metadata()  # the server has the stream
        self.ready.set()
        try:
            for _ in self.stream:
                self.last = time.perf_counter()
                self.count += 1
        except Exception:  # cancelled
            return

    def close(self):
        self.stream.cancel()
        self.join()
        self.channel.close()


def measure(build, options):
    """The section's text."""
    import os
    os.environ["GEMEL_BUILD"] = str(build)
    sys.path.insert(0, str(ROOT / "tests/api"))
    import gemeld as harness
    folder = tempfile.mkdtemp(prefix="gemel-bench-", dir=options.folder)
    results = {}
    daemon = harness.Gemeld(folder).start()
    try:
        bench = Bench(harness, daemon)
        for _ in range(DEFINED):
            bench.raw("Create")(bench.create_request())
        results["get"] = bench.get(options.calls * 10)
        results["list"] = bench.list(options.calls)
        results["create"] = bench.create(options.calls)
        results["watch"] = bench.watch(max(20, options.calls // 5))
        sync = sync_ms(folder)
    finally:
        daemon.end(9)
        subprocess.run(["rm", "-rf", folder], check=True)
    return describe(results, sync)


def sync_ms(folder):
    """What the disk takes for an fdatasync of 4 KiB: a Create waits for two, one after the other."""
    import os
    times = []
    with open(pathlib.Path(folder) / "sync", "wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def describe(results, sync):
    import report
    rows = []
    for name, times in results.items():
        p99 = percentile(times, 0.99)
        rows.append([LABELS[name], len(times), f"{statistics.median(times):.2f}", f"{p99:.2f}",
                     f"≤ {GOALS[name]}", report.verdict(p99 <= GOALS[name])])
    return (f"{DEFINED} machines defined, one client but for the watching ones, over the Unix socket; a "
            "Create waits for its transaction and then for its audit line; one fdatasync of 4 KiB took "
            f"{sync:.2f} ms (median) on that disk.\n\n"
            + report.table(["", "calls", "p50, ms", "p99, ms", "goal", ""], rows))
