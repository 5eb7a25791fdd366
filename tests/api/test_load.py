"""Many machines and many clients at once; and nothing grows.

GEMEL_LOAD_DEFINED: machines that are defined (150 if not said), GEMEL_LOAD_GUESTS: that run (15),
GEMEL_LOAD_CALLS: calls of each of 200 clients (4). GEMEL_LIFE_ROUNDS: machines that are created,
started, stopped and deleted (15).
"""

import os
import pathlib
import random
import threading
import time

import gemeld
import grpc
from conftest import needs_kvm
from gemeld import v1

DEFINED = int(os.environ.get("GEMEL_LOAD_DEFINED") or 150)
GUESTS = int(os.environ.get("GEMEL_LOAD_GUESTS") or 15)
CLIENTS = 200
CALLS = int(os.environ.get("GEMEL_LOAD_CALLS") or 4)
ROUNDS = int(os.environ.get("GEMEL_LIFE_ROUNDS") or 15)
# What a daemon keeps of the last day: operations, request ids, events. Not more than 10,000 each.
KEPT_KIB_A_ROUND, KEPT_ROUNDS = 40, 2500


class Client(threading.Thread):
    """Calls of all kinds, on a connection of its own."""

    def __init__(self, daemon, number):
        super().__init__()
        self.daemon, self.number = daemon, number
        self.random = random.Random(number)
        self.failure, self.done = None, 0

    def run(self):
        channel = grpc.insecure_channel(f"unix:{self.daemon.run_dir}/api.sock",
                                        options=[("grpc.use_local_subchannel_pool", 1)])
        try:
            grpc.channel_ready_future(channel).result(timeout=gemeld.DEADLINE)
            stub = gemeld.module("gemel.v1.virtual_machines_pb2_grpc").VirtualMachinesStub(channel)
            for _ in range(CALLS):
                self.call(stub)
                self.done += 1
        except Exception as error:
            self.failure = error
        finally:
            channel.close()

    def call(self, stub):
        messages = v1("virtual_machines")
        name = f"projects/p/vms/vm-{self.random.randrange(DEFINED)}"
        kind = self.random.randrange(6)
        if kind < 3:
            assert stub.Get(messages.GetVirtualMachineRequest(name=name)).name == name
        elif kind == 3:
            page = stub.List(messages.ListVirtualMachinesRequest(parent="projects/p", page_size=50))
            assert len(page.virtual_machines) == 50
        elif kind == 4:
            request = messages.UpdateVirtualMachineRequest(
                virtual_machine=messages.VirtualMachine(name=name, description=str(self.number)))
            request.update_mask.paths.append("description")
            assert stub.Update(request).done
        else:
            parent = f"projects/client-{self.number}"
            made = stub.Create(messages.CreateVirtualMachineRequest(
                parent=parent, vm_id=f"vm-{self.done}",
                virtual_machine=messages.VirtualMachine(spec=self.daemon.spec("idle", "", 16))))
            stub.Delete(messages.DeleteVirtualMachineRequest(name=made.metadata.target))


def start_guests(daemon):
    operations = [daemon.do("Start", f"projects/p/vms/vm-{number}") for number in range(GUESTS)]
    for operation in operations:
        daemon.well(operation)


@needs_kvm
def test_many_clients_and_machines(daemon):
    for number in range(DEFINED):
        daemon.create(f"vm-{number}", spec=daemon.spec("idle", "", 16))
    start_guests(daemon)
    running = daemon.processes()
    started = time.monotonic()
    clients = [Client(daemon, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    failures = [client.failure for client in clients if client.failure is not None]
    assert not failures, (len(failures), failures[0])
    seconds = time.monotonic() - started
    print(f"{CLIENTS} clients, {CLIENTS * CALLS} calls, {seconds:.1f} s")
    assert daemon.processes() == running
    states = [vm.status.state for vm in daemon.list()]
    word = v1("virtual_machines").VirtualMachineState.Value("VIRTUAL_MACHINE_STATE_RUNNING")
    assert len(states) == DEFINED and states.count(word) == GUESTS


def held(daemon, uids):
    """What must not grow: descriptors, threads, files, groups of the machines `uids`."""
    process = pathlib.Path(f"/proc/{daemon.process.pid}")
    files = [path for top in (daemon.run_dir, daemon.state_dir) for path in top.rglob("*")]
    return {"descriptors": len(list((process / "fd").iterdir())),
            "threads": len(list((process / "task").iterdir())),
            "files": len(files), "processes": len(daemon.processes()),
            "groups": len(uids & {name for _, names, _ in os.walk("/sys/fs/cgroup")
                                  for name in names})}


def resident_kib(daemon):
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def live(daemon, rounds):
    """The uids of machines that have come and gone."""
    uids = set()
    for number in range(rounds):
        made = daemon.well(daemon.create("web", run=True, spec=daemon.spec("idle", "", 16)))
        uids.add(made.metadata.target_uid)
        daemon.well(daemon.do("Stop"))
        daemon.well(daemon.do("Start"))
        daemon.well(daemon.do("Delete", force=True))
    return uids


def folders_are_gone(daemon):
    """A machine's folder goes a moment after the operation that ends it."""
    daemon.until(lambda: not list((daemon.run_dir / "vms").iterdir()), "folders to go")


@needs_kvm
def test_nothing_grows(daemon):
    live(daemon, 10)
    folders_are_gone(daemon)
    before, memory = held(daemon, set()), resident_kib(daemon)
    before["threads"] += 8  # gRPC's pool breathes
    uids = live(daemon, ROUNDS)
    folders_are_gone(daemon)

    def no_more():
        now = held(daemon, uids)
        return all(now[what] <= before[what] for what in before)
    daemon.until(no_more, f"no more than {before}")
    grown = resident_kib(daemon) - memory
    print(f"{ROUNDS} rounds: {grown} KiB more, {held(daemon, uids)}")
    assert grown <= 4096 + KEPT_KIB_A_ROUND * min(ROUNDS, KEPT_ROUNDS), grown
