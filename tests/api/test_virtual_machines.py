"""gemel.v1.VirtualMachines over api.sock: the real daemon, real processes, bare-metal guests."""

import os
import signal
import socket

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import v1

WEB = "projects/p/vms/web"


def refused(call):
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return failure.value


# What is defined.


def test_machine_is_created_read_and_deleted(daemon):
    operation = daemon.create()
    assert operation.done
    vm = daemon.get()
    assert (vm.name, vm.spec.cpu.count, daemon.state()) == (WEB, 1, "STOPPED")
    assert len(vm.uid) == 36 and vm.etag and vm.create_time.seconds > 0
    created = v1("virtual_machines").VirtualMachine()
    assert operation.response.Unpack(created) and created.uid == vm.uid
    daemon.well(daemon.do("Delete"))
    assert refused(daemon.get).code() == grpc.StatusCode.NOT_FOUND


def test_same_request_id_gives_the_same_operation(daemon):
    request_id = gemeld.new_id()
    first = daemon.create(request_id=request_id)
    assert daemon.create(request_id=request_id).name == first.name
    assert len(daemon.list()) == 1
    error = refused(lambda: daemon.create("other", request_id=request_id))
    assert gemeld.reason_of(error) == "REQUEST_ID_REUSED"
    assert gemeld.fields_of(error) == ["request_id"]


def test_bad_values_are_named_with_their_field(daemon):
    messages = v1("virtual_machines")
    for change, field in [
            (lambda spec: setattr(spec.cpu, "count", 65), "virtual_machine.spec.cpu.count"),
            (lambda spec: setattr(spec.cpu, "weight", 10001), "virtual_machine.spec.cpu.weight"),
            (lambda spec: setattr(spec.memory, "size_bytes", 5), "virtual_machine.spec.memory.size_bytes"),
            (lambda spec: setattr(spec.boot, "kernel", "/etc/passwd"), "virtual_machine.spec.boot.kernel"),
            (lambda spec: setattr(spec.boot, "command_line", "x" * 3000),
             "virtual_machine.spec.boot.command_line"),
            (lambda spec: setattr(spec, "machine_type", "pdp-11"), "virtual_machine.spec.machine_type"),
            (lambda spec: spec.disks.add(disk="projects/p/disks/none"),
             "virtual_machine.spec.disks[0].disk"),
            (lambda spec: spec.nics.add(mac_address="zz"), "virtual_machine.spec.nics[0].mac_address"),
    ]:
        spec = messages.VirtualMachineSpec()
        spec.CopyFrom(daemon.spec())
        change(spec)
        error = refused(lambda: daemon.create(spec=spec))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        assert gemeld.fields_of(error) == [field], error.details()
    assert not daemon.list()


@pytest.mark.parametrize("vm_id", ["", "Web", "1web", "web-", "a" * 64, "we/b", "w\u00e4b"])
def test_bad_ids_are_refused(daemon, vm_id):
    assert gemeld.fields_of(refused(lambda: daemon.create(vm_id))) == ["vm_id"]


def test_validate_only_changes_nothing(daemon):
    operation = daemon.create(run=True, validate_only=True)
    assert operation.done and not operation.name
    assert not daemon.list()


def test_etag_of_before_is_refused(daemon):
    daemon.create()
    old = daemon.get().etag
    messages = v1("virtual_machines")

    def update(etag, text):
        request = messages.UpdateVirtualMachineRequest(
            virtual_machine=messages.VirtualMachine(name=WEB, etag=etag, description=text))
        request.update_mask.paths.append("description")
        return daemon.vms.Update(request)

    daemon.well(update(old, "first"))
    error = refused(lambda: update(old, "second"))
    assert (error.code(), gemeld.reason_of(error)) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert daemon.get().description == "first"


def test_mask_that_names_an_output_field_is_refused(daemon):
    daemon.create()
    messages = v1("virtual_machines")
    for path in ("status.state", "uid", "nonsense"):
        request = messages.UpdateVirtualMachineRequest(
            virtual_machine=messages.VirtualMachine(name=WEB))
        request.update_mask.paths.append(path)
        assert gemeld.fields_of(refused(lambda: daemon.vms.Update(request))) == ["update_mask"]


def test_pages_hold_each_machine_once(daemon):
    for number in range(7):
        daemon.create(f"vm-{number}", validate_only=False)
    messages = v1("virtual_machines")
    seen, token = [], ""
    while True:
        page = daemon.vms.List(messages.ListVirtualMachinesRequest(
            parent="projects/p", page_size=2, page_token=token))
        seen += [vm.name.rsplit("/", 1)[1] for vm in page.virtual_machines]
        if len(seen) == 2:  # what comes and goes elsewhere moves nothing
            daemon.well(daemon.do("Delete", "projects/p/vms/vm-0"))
            daemon.create("vm-00")
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"vm-{number}" for number in range(7)]
    error = refused(lambda: daemon.vms.List(messages.ListVirtualMachinesRequest(
        parent="projects/q", page_token=page.next_page_token or "made-up")))
    assert gemeld.fields_of(error) == ["page_token"]


def test_filter_picks_machines(daemon):
    messages = v1("virtual_machines")
    for name, app in (("a", "web"), ("b", "db")):
        daemon.vms.Create(messages.CreateVirtualMachineRequest(
            parent="projects/p", vm_id=name,
            virtual_machine=messages.VirtualMachine(spec=daemon.spec(), labels={"app": app})))
    assert [vm.name for vm in daemon.list(filter="labels.app = db")] == ["projects/p/vms/b"]
    assert len(daemon.list(filter="status.state = STOPPED")) == 2
    assert gemeld.fields_of(refused(lambda: daemon.list(filter="colour = red"))) == ["filter"]


# What runs.


@needs_kvm
def test_life_of_a_machine(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    assert daemon.state() == "RUNNING"
    daemon.well(daemon.do("Pause"))
    assert daemon.state() == "PAUSED"
    daemon.well(daemon.do("Resume"))
    daemon.well(daemon.do("Reset"))
    assert daemon.state() == "RUNNING"
    daemon.well(daemon.do("Stop"))
    assert daemon.state() == "STOPPED"
    assert daemon.get().status.reason == "STOPPED"
    daemon.well(daemon.do("Start"))
    error = refused(lambda: daemon.do("Start"))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    error = refused(lambda: daemon.do("Delete"))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    daemon.well(daemon.do("Delete", force=True))
    assert not daemon.processes()


@needs_kvm
def test_shutdown_presses_the_power_button(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("console", "button")))
    operation = daemon.do("Shutdown")
    daemon.well(operation)
    assert (daemon.state(), daemon.get().status.reason) == ("STOPPED", "GUEST_POWER_OFF")


@needs_kvm
def test_host_that_goes_down_asks_its_guests_and_runs_them_again(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("console", "button")))
    daemon.end(signal.SIGPWR)
    assert daemon.process.returncode == 0, daemon.log()
    daemon.until(lambda: not daemon.processes(), "what is left of the machine to go")
    daemon.start()
    daemon.until(lambda: daemon.state() == "RUNNING", "the machine to run with its host")
    exit_of = daemon.get().status.last_exit
    assert v1("virtual_machines").ExitReason.Name(exit_of.reason) == "EXIT_REASON_GUEST_POWER_OFF"


@needs_kvm
def test_shutdown_that_the_guest_ignores_times_out(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    messages = v1("virtual_machines")
    request = messages.ShutdownVirtualMachineRequest(name=WEB)
    request.timeout.seconds = 1
    done = daemon.wait(daemon.vms.Shutdown(request))
    assert gemeld.reason_of(done.error) == "TIMEOUT"
    assert daemon.state() == "RUNNING"
    request.force = True
    daemon.well(daemon.vms.Shutdown(request))
    assert daemon.state() == "STOPPED"


@needs_kvm
def test_shutdown_can_be_cancelled(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    operation = daemon.do("Shutdown")
    assert not operation.done
    messages = v1("operations")
    daemon.operations.Cancel(messages.CancelOperationRequest(name=operation.name))
    assert daemon.wait(operation).error.code == grpc.StatusCode.CANCELLED.value[0]
    assert daemon.state() == "RUNNING"


@needs_kvm
def test_guest_that_switches_itself_off_is_stopped(daemon):
    daemon.create(run=True, spec=daemon.spec("power", ""))
    daemon.until(lambda: daemon.state() == "STOPPED" and daemon.get().status.HasField("last_exit"))
    exit_of = daemon.get().status.last_exit
    assert v1("virtual_machines").ExitReason.Name(exit_of.reason) == "EXIT_REASON_GUEST_POWER_OFF"


@needs_kvm
def test_panic_of_the_guests_kernel_is_told(daemon):
    spec = daemon.spec("power", "panic")
    spec.machine_type = "server-1"
    daemon.create(run=True, spec=spec)
    daemon.until(lambda: daemon.told("GUEST_PANIC"), "GUEST_PANIC")
    assert daemon.told("GUEST_PANIC")[0].resource == WEB
    daemon.until(lambda: daemon.state() == "STOPPED", "the end of the machine")
    assert v1("virtual_machines").ExitReason.Name(daemon.get().status.last_exit.reason) == \
        "EXIT_REASON_GUEST_PANIC"


@needs_kvm
def test_killed_process_is_told_with_its_signal(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    vmm = [pid for pid, words in daemon.processes()]
    assert vmm, "no process of the machine"
    for pid in vmm:
        os.kill(pid, signal.SIGKILL)
    daemon.until(lambda: daemon.state() == "STOPPED")
    assert daemon.get().status.reason in ("VMM_KILLED", "LOST")


@needs_kvm
def test_update_of_a_running_machine_waits_for_its_next_start(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    messages = v1("virtual_machines")
    request = messages.UpdateVirtualMachineRequest(
        virtual_machine=messages.VirtualMachine(name=WEB))
    request.virtual_machine.spec.memory.size_bytes = 64 * gemeld.MIB
    request.update_mask.paths.append("spec.memory.size_bytes")
    daemon.well(daemon.vms.Update(request))
    assert list(daemon.get().status.pending_changes) == ["memory.size_bytes"]
    daemon.well(daemon.do("Stop"))
    daemon.well(daemon.do("Start"))
    assert not daemon.get().status.pending_changes


@needs_kvm
def test_change_is_told_with_what_waits_for_the_next_start(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    messages = v1("virtual_machines")
    changed = messages.VirtualMachine(name=WEB, description="of today")
    changed.spec.memory.size_bytes = 64 * gemeld.MIB
    request = messages.UpdateVirtualMachineRequest(virtual_machine=changed)
    request.update_mask.paths.extend(["description", "spec.memory.size_bytes"])
    daemon.well(daemon.vms.Update(request))
    told, = daemon.told("CONFIGURATION_CHANGED")
    assert (told.resource, told.reason) == (WEB, "REQUESTED")
    assert list(told.configuration_change.paths) == ["description", "spec.memory.size_bytes"]
    assert list(told.configuration_change.pending_paths) == ["memory.size_bytes"]
    assert told.configuration_change.etag == daemon.get().etag


@needs_kvm
def test_missing_kernel_is_named_and_leaves_nothing(daemon):
    spec = daemon.spec("none", "")
    done = daemon.wait(daemon.create(run=True, spec=spec))
    assert gemeld.reason_of(done.error) == "IMAGE_MISSING"
    assert "guest-none" in done.error.message
    assert not daemon.list() and not daemon.processes()


@needs_kvm
def test_kernel_that_is_none_is_refused_and_leaves_nothing(daemon):
    spec = daemon.spec("idle", "")
    spec.boot.kernel = str(gemeld.GUESTS / "meson.build.not-a-kernel")
    done = daemon.wait(daemon.create(run=True, spec=spec))
    assert done.HasField("error")
    assert not daemon.list() and not daemon.processes()


@needs_kvm
def test_inspect_shows_sandbox_and_devices(daemon):
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    seen = daemon.vms.Inspect(v1("virtual_machines").InspectVirtualMachineRequest(name=WEB))
    assert seen.sandbox_layers and any(device.kind == "virtio-rng" for device in seen.devices)
    daemon.well(daemon.do("Stop"))
    error = refused(lambda: daemon.vms.Inspect(
        v1("virtual_machines").InspectVirtualMachineRequest(name=WEB)))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION


def with_ways_to_the_host(daemon):
    messages = v1("virtual_machines")
    return daemon.spec("idle", "", vsock=messages.VsockSpec(),
                       channels=[messages.ChannelSpec(channel=name)
                                 for name in ("org.qemu.guest_agent.0", "c" * 63)])


@needs_kvm
def test_vsock_and_channels_are_sockets_in_the_machines_folder(daemon):
    daemon.well(daemon.create(run=True, spec=with_ways_to_the_host(daemon)))
    vm = daemon.get()
    assert vm.spec.vsock.cid == 3
    seen = daemon.vms.Inspect(v1("virtual_machines").InspectVirtualMachineRequest(name=vm.name))
    kinds = [device.kind for device in seen.devices]
    assert any("vsock" in kind for kind in kinds) and any("console" in kind for kind in kinds), kinds
    folder = daemon.run_dir / "vms" / vm.uid
    for name in ("vsock.sock", "channel-org.qemu.guest_agent.0", "channel-" + "c" * 63):
        here = os.open(folder, os.O_PATH)  # a socket's path has 108 bytes
        with socket.socket(socket.AF_UNIX) as host:
            host.connect(f"/proc/self/fd/{here}/{name}")
        os.close(here)
    daemon.kill()
    daemon.start()
    assert daemon.state() == "RUNNING"
    daemon.well(daemon.do("Stop"))
    daemon.until(lambda: not folder.exists(), "its folder to go")
    daemon.well(daemon.do("Start"))


@pytest.mark.parametrize("fields,field", [
    ({"vsock": {"cid": 2}}, "virtual_machine.spec.vsock"),
    ({"channels": [{"channel": "../x"}]}, "virtual_machine.spec.channels"),
    ({"channels": [{"channel": ""}]}, "virtual_machine.spec.channels"),
    ({"channels": [{"channel": "a"}, {"channel": "a"}]}, "virtual_machine.spec.channels"),
    ({"channels": [{"channel": f"c{number}"} for number in range(31)]},
     "virtual_machine.spec.channels"),
])
def test_bad_vsock_and_channels_are_refused_by_field(daemon, fields, field):
    spec = daemon.spec("idle", "")
    spec.MergeFrom(v1("virtual_machines").VirtualMachineSpec(**fields))
    with pytest.raises(grpc.RpcError) as failure:
        daemon.create(spec=spec)
    assert gemeld.fields_of(failure.value) == [field]
