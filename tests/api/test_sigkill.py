"""SIGKILL of the daemon at random points of a scripted workload: afterwards every machine is as it was
or as asked, nothing in between, and nothing of a machine is left that is not one's.

GEMEL_SIGKILL_ROUNDS says how often (20 if not said); GEMEL_SIGKILL_SEED repeats a run.
"""

import os
import random
import threading
import time

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1

ROUNDS = int(os.environ.get("GEMEL_SIGKILL_ROUNDS") or 20)
SEED = int(os.environ.get("GEMEL_SIGKILL_SEED") or time.time_ns() % 1_000_000)
NAMES = [f"vm-{number}" for number in range(4)]
VERBS = ("Start", "Stop", "Pause", "Resume", "Delete", "Reset", "Create", "Create",
         "CreateDisk", "UploadDisk", "GrowDisk", "DeleteDisk")


class Workload(threading.Thread):
    """Random calls until the daemon is gone. What was answered is promised; the last call may be
    either."""

    def __init__(self, daemon, seed):
        super().__init__()
        self.daemon, self.random = daemon, random.Random(seed)
        self.last = None       # (verb, name, request id) without an answer
        self.answered = {}     # operation by request id
        self.failure = None

    def run(self):
        try:
            while True:
                verb, name = self.random.choice(VERBS), self.random.choice(NAMES)
                self.last = (verb, name, gemeld.new_id())
                try:
                    self.answered[self.last[2]] = (verb, name, self.call(*self.last))
                except grpc.RpcError as error:
                    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                        return
                    # INVALID_ARGUMENT: a machine with a disk that is not there
                    assert error.code() in (grpc.StatusCode.FAILED_PRECONDITION,
                                            grpc.StatusCode.NOT_FOUND,
                                            grpc.StatusCode.INVALID_ARGUMENT,
                                            grpc.StatusCode.ALREADY_EXISTS), error
                self.last = None
        except ValueError:  # the channel was closed
            return
        except Exception as error:
            self.failure = error

    def call(self, verb, name, request_id):
        if verb.endswith("Disk"):
            return self.call_disk(verb, f"{name}-disk", request_id)
        if verb == "Create":
            spec = self.daemon.spec("idle", "", 16)
            if self.random.random() < 0.5:  # each machine has a disk of its own
                spec.disks.add(disk=f"projects/p/disks/{name}-disk")
            return self.daemon.create(name, run=self.random.random() < 0.7, spec=spec,
                                      request_id=request_id)
        fields = {"force": True} if verb == "Delete" else {}
        return self.daemon.do(verb, f"projects/p/vms/{name}", request_id=request_id, **fields)


    def call_disk(self, verb, disk_id, request_id):
        messages, disks = v1("disks"), self.daemon.disks
        name = f"projects/p/disks/{disk_id}"
        if verb == "DeleteDisk":
            return disks.Delete(messages.DeleteDiskRequest(name=name, request_id=request_id))
        if verb == "GrowDisk":
            size = disks.Get(messages.GetDiskRequest(name=name)).size_bytes + gemeld.MIB
            request = messages.UpdateDiskRequest(
                disk=messages.Disk(name=name, size_bytes=size), request_id=request_id)
            request.update_mask.paths.append("size_bytes")
            return disks.Update(request)
        create = messages.CreateDiskRequest(parent="projects/p", disk_id=disk_id,
                                            disk=messages.Disk(size_bytes=gemeld.MIB),
                                            request_id=request_id)
        if verb == "CreateDisk":
            return disks.Create(create)
        return disks.Upload(iter(
            [messages.UploadDiskRequest(create=create)]
            + 4 * [messages.UploadDiskRequest(data=b"uploaded" * (gemeld.MIB // 32))]))


def settle(daemon):
    """Waits until nothing is under way; the machines by name."""
    operations = v1("operations")

    def quiet():
        page = daemon.operations.List(operations.ListOperationsRequest(
            parent="projects/-", filter="done = false", page_size=1000))
        return not page.operations

    daemon.until(quiet, "operations that never end")
    return {vm.name.rsplit("/", 1)[1]: vm for vm in daemon.list()}


def check(daemon, vms):
    """Records, processes and folders tell the same."""
    messages = v1("virtual_machines")
    running = set()
    for name, vm in vms.items():
        desired = messages.DesiredState.Name(vm.desired_state).removeprefix("DESIRED_STATE_")
        state = messages.VirtualMachineState.Name(vm.status.state).split("_STATE_")[1]
        assert desired == state, (name, desired, state, vm.status)
        if state != "STOPPED":
            running.add(vm.uid)
    # A folder goes a moment after the operation that ends its machine.
    daemon.until(lambda: {path.name for path in (daemon.run_dir / "vms").glob("*")} == running,
                 f"folders of {running} alone")
    for pid, words in daemon.processes():
        assert any(uid in " ".join(words) for uid in running), (pid, words)
    for uid in running:
        assert any(uid in " ".join(words) for _, words in daemon.processes()), uid
    # os.walk, not glob: other groups come and go under it.
    groups = {name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names}
    assert groups & {vm.uid for vm in vms.values()} <= running


def check_disks(daemon):
    """Records and files tell the same; what was uploaded is whole."""
    messages = v1("disks")
    pool = daemon.state_dir / "disks/default"
    disks = daemon.disks.List(messages.ListDisksRequest(parent="projects/p")).disks
    # What a killed daemon was being sent goes as the next one starts.
    daemon.until(lambda: {path.name for path in pool.iterdir()}
                 == {f"{disk.uid}.raw" for disk in disks}, "files that are no disk's to go")
    for disk in disks:
        assert messages.DiskState.Name(disk.state) == "DISK_STATE_READY", disk
        path = pool / f"{disk.uid}.raw"
        assert path.stat().st_size == disk.size_bytes, disk
        with path.open("rb") as file:
            begin = file.read(gemeld.MIB)
        assert begin in (bytes(gemeld.MIB), b"uploaded" * (gemeld.MIB // 8)), disk


def check_promises(daemon, work):
    """Each answered call is still known by its request id, and is done."""
    operations = v1("operations")
    for request_id, (verb, name, operation) in work.answered.items():
        now = daemon.operations.Get(operations.GetOperationRequest(name=operation.name))
        assert now.done and now.metadata.request_id == request_id, (verb, name, now)


@needs_kvm
@pytest.mark.parametrize("seed", [SEED])
def test_every_machine_is_as_it_was_or_as_asked(daemon, seed):
    chance = random.Random(seed)
    for number in range(ROUNDS):
        work = Workload(daemon, chance.random())
        work.start()
        time.sleep(chance.uniform(0.02, 0.6))  # where in the workload it dies
        daemon.kill()
        work.join()
        assert work.failure is None, (number, work.failure)
        daemon.start()
        vms = settle(daemon)
        check(daemon, vms)
        check_disks(daemon)
        check_promises(daemon, work)
        if work.last is not None:
            repeat(daemon, work.last)
    settle(daemon)


def repeat(daemon, last):
    """The call that got no answer, once more with its id: it is carried out once."""
    verb, name, request_id = last
    if verb == "Create" or verb.endswith("Disk"):
        return
    fields = {"force": True} if verb == "Delete" else {}
    try:
        first = daemon.do(verb, f"projects/p/vms/{name}", request_id=request_id, **fields)
        again = daemon.do(verb, f"projects/p/vms/{name}", request_id=request_id, **fields)
        assert first.name == again.name
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND), error
    check(daemon, settle(daemon))
