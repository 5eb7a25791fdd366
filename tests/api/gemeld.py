"""A gemeld of a test's own, and a client of it made of the protos as any client is."""

import functools
import importlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import google
import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMELD = pathlib.Path(os.environ.get("GEMEL_GEMELD") or BUILD / "grpc/gemeld")
GUESTS = BUILD / "tests/guests"
# Seconds, for what takes milliseconds on a machine with nothing else to do; tests/os gives more.
DEADLINE = int(os.environ.get("GEMEL_DEADLINE") or 120)
MIB = 1 << 20


@functools.cache
def stubs():
    """The folder with what protoc makes of the public protos, on sys.path."""
    folder = tempfile.mkdtemp(prefix="gemel-stubs-")
    protos = sorted(str(path.relative_to(ROOT / "proto"))
                    for part in ("gemel/v1", "google/rpc")
                    for path in (ROOT / "proto" / part).glob("*.proto"))
    subprocess.run(["protoc", "--proto_path=proto", f"--python_out={folder}",
                    f"--grpc_out={folder}",
                    f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}", *protos],
                   cwd=ROOT, check=True)
    sys.path.insert(0, folder)
    # Debian's google package is one folder; ours is another.
    google.__path__.append(f"{folder}/google")
    return folder


def module(name):
    stubs()
    return importlib.import_module(name)


def v1(name):
    """gemel.v1's messages of a file: v1("virtual_machines").VirtualMachine."""
    return module(f"gemel.v1.{name}_pb2")


def status_of(error):
    """The google.rpc.Status of a failed call."""
    status = module("google.rpc.status_pb2").Status()
    details = dict(error.trailing_metadata() or ())
    status.ParseFromString(details["grpc-status-details-bin"])
    return status


def reason_of(status):
    """ErrorInfo.reason of a google.rpc.Status, or of the call that failed with it."""
    if isinstance(status, grpc.RpcError):
        status = status_of(status)
    info = module("google.rpc.error_details_pb2").ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.reason
    return None


def fields_of(error):
    """The fields that BadRequest names."""
    bad = module("google.rpc.error_details_pb2").BadRequest()
    for detail in status_of(error).details:
        if detail.Unpack(bad):
            return [violation.field for violation in bad.field_violations]
    return []


def words_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def family(pid):
    """A process and all below it."""
    yield pid
    for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = children.read_text().split()
        except OSError:
            continue
        for child in below:
            yield from family(int(child))


class Gemeld:
    """One daemon with folders of its own. Its machines end with close()."""

    def __init__(self, folder, *words, environment=None, namespace=None):
        self.folder = pathlib.Path(folder)
        self.state_dir, self.run_dir = self.folder / "state", self.folder / "run"
        self.words, self.environment = words, environment
        # Of the network; nsenter becomes the daemon, and /sys stays what it is.
        self.prefix = [] if namespace is None else ["nsenter", f"--net=/run/netns/{namespace}"]
        self.process, self.channel = None, None
        self.starts = 0
        self.wrapper = []  # words before the daemon's, which end in exec

    def start(self, wait=True):
        self.starts += 1
        log = open(self.folder / "log", "ab")
        with log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.wrapper, GEMELD,
                 "--state-dir", self.state_dir, "--run-dir", self.run_dir,
                 "--node", "n", "--boot-dir", GUESTS, *self.words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, **(self.environment or {})}, start_new_session=True)
        if wait:
            self.connect()
        return self

    def connect(self):
        self.channel = grpc.insecure_channel(f"unix:{self.run_dir}/api.sock", options=[
            # A daemon that comes back is found at once (min_reconnect is how long an attempt may take),
            # and another's channel is not taken for ours.
            ("grpc.initial_reconnect_backoff_ms", 20), ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 100), ("grpc.use_local_subchannel_pool", 1)])
        deadline = time.monotonic() + DEADLINE
        while True:
            assert self.process.poll() is None, self.log()
            try:
                grpc.channel_ready_future(self.channel).result(timeout=0.2)
                break
            except grpc.FutureTimeoutError:
                assert time.monotonic() < deadline, self.log()
        self.vms = self.stub("virtual_machines", "VirtualMachines")
        self.operations = self.stub("operations", "Operations")
        self.events = self.stub("events", "Events")
        self.nodes = self.stub("nodes", "Nodes")
        self.disks = self.stub("disks", "Disks")
        self.networks = self.stub("networks", "Networks")
        self.consoles = self.stub("consoles", "Consoles")

    def stub(self, file, service):
        return getattr(module(f"gemel.v1.{file}_pb2_grpc"), f"{service}Stub")(self.channel)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def kill(self):
        """SIGKILL: as the worst end of a daemon is."""
        self.end(signal.SIGKILL)

    def stop(self):
        self.end(signal.SIGTERM)
        assert self.process.returncode == 0, self.log()

    def end(self, number):
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        self.process.send_signal(number)
        self.process.wait(timeout=DEADLINE)

    def close(self):
        """Deletes every machine and ends the daemon; leaves nothing."""
        if self.process.poll() is not None:
            self.start()
        messages = v1("virtual_machines")
        for vm in self.list():
            try:
                self.wait(self.vms.Delete(messages.DeleteVirtualMachineRequest(
                    name=vm.name, force=True)))
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND and "deleted" not in error.details():
                    raise
        self.delete_networks()
        deadline = time.monotonic() + DEADLINE
        while self.list() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = self.processes()
        self.stop()
        assert not left, left

    def delete_networks(self):
        messages = v1("networks")
        for network in self.networks.List(
                messages.ListNetworksRequest(parent="projects/-", page_size=1000)).networks:
            self.well(self.networks.Delete(messages.DeleteNetworkRequest(name=network.name)))

    def processes(self):
        """(pid, command line) of every process of our machines: jails, and all within them."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            words = words_of(entry.name) if entry.name.isdigit() else []
            if f"{self.run_dir}" in " ".join(words) and int(entry.name) != self.process.pid:
                for pid in family(int(entry.name)):
                    found.setdefault(pid, words)
        return sorted(found.items())

    # What tests do most.

    def list(self, **fields):
        messages = v1("virtual_machines")
        return self.vms.List(messages.ListVirtualMachinesRequest(
            parent="projects/-", page_size=1000, **fields)).virtual_machines

    def get(self, name="projects/p/vms/web"):
        return self.vms.Get(v1("virtual_machines").GetVirtualMachineRequest(name=name))

    def spec(self, guest="console", words="echo", memory=32, **fields):
        messages = v1("virtual_machines")
        return messages.VirtualMachineSpec(
            machine_type="micro-1", memory=messages.MemorySpec(size_bytes=memory * MIB),
            boot=messages.BootSpec(kernel=str(GUESTS / f"guest-{guest}"), command_line=words), **fields)

    def create(self, vm_id="web", run=False, project="p", spec=None, **fields):
        messages = v1("virtual_machines")
        return self.vms.Create(messages.CreateVirtualMachineRequest(
            parent=f"projects/{project}", vm_id=vm_id,
            virtual_machine=messages.VirtualMachine(
                spec=spec or self.spec(), desired_state="DESIRED_STATE_RUNNING" if run else 0), **fields))

    def do(self, verb, name="projects/p/vms/web", **fields):
        request = getattr(v1("virtual_machines"), f"{verb}VirtualMachineRequest")
        return getattr(self.vms, verb)(request(name=name, **fields))

    def wait(self, operation, timeout=DEADLINE):
        """The operation once it is done."""
        messages = v1("operations")
        request = messages.WaitOperationRequest(name=operation.name)
        request.timeout.seconds = timeout
        done = self.operations.Wait(request)
        assert done.done, done
        return done

    def well(self, operation):
        """The operation once it is done, and well."""
        done = self.wait(operation)
        assert not done.HasField("error"), (done, self.log())
        return done

    def state(self, name="projects/p/vms/web"):
        word = v1("virtual_machines").VirtualMachineState.Name(self.get(name).status.state)
        return word.removeprefix("VIRTUAL_MACHINE_STATE_")

    def told(self, kind):
        """The events of that type: "GUEST_PANIC"."""
        messages = v1("events")
        listed = self.events.List(messages.ListEventsRequest(parent="projects/-", page_size=1000)).events
        return [event for event in listed if event.type == messages.EventType.Value(f"EVENT_TYPE_{kind}")]

    def until(self, condition, what="condition"):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, (what, self.log())
            time.sleep(0.02)


def new_id():
    return str(uuid.uuid4())
