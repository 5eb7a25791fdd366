"""gemel.v1.Disks over api.sock."""

import gemeld
import grpc
import pytest
from conftest import needs_kvm
from gemeld import MIB, v1

ROOT_DISK = "projects/p/disks/root"


def refused(call):
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return failure.value


def create(daemon, disk_id="root", size=8 * MIB, **fields):
    messages = v1("disks")
    return daemon.disks.Create(messages.CreateDiskRequest(
        parent="projects/p", disk_id=disk_id, disk=messages.Disk(size_bytes=size, **fields)))


def get(daemon, name=ROOT_DISK):
    return daemon.disks.Get(v1("disks").GetDiskRequest(name=name))


def file_of(daemon, disk):
    return daemon.state_dir / "disks/default" / f"{disk.uid}.raw"


def test_disk_is_created_grown_and_deleted(daemon):
    daemon.well(create(daemon))
    disk = get(daemon)
    assert v1("disks").DiskState.Name(disk.state) == "DISK_STATE_READY"
    assert file_of(daemon, disk).stat().st_size == 8 * MIB
    assert file_of(daemon, disk).stat().st_blocks == 0
    messages = v1("disks")
    request = messages.UpdateDiskRequest(disk=messages.Disk(name=ROOT_DISK, size_bytes=16 * MIB))
    request.update_mask.paths.append("size_bytes")
    daemon.well(daemon.disks.Update(request))
    assert file_of(daemon, disk).stat().st_size == 16 * MIB
    request.disk.size_bytes = 8 * MIB
    assert gemeld.fields_of(refused(lambda: daemon.disks.Update(request))) == ["disk.size_bytes"]
    daemon.well(daemon.disks.Delete(messages.DeleteDiskRequest(name=ROOT_DISK)))
    assert not file_of(daemon, disk).exists()
    assert refused(lambda: get(daemon)).code() == grpc.StatusCode.NOT_FOUND


def test_what_became_of_its_file_is_shown(daemon):
    daemon.well(create(daemon))
    disk = get(daemon)
    file = file_of(daemon, disk)
    with file.open("r+b") as opened:
        opened.write(bytes([1]) * MIB)
    assert get(daemon).allocated_bytes >= MIB > disk.allocated_bytes
    file.rename(file.with_suffix(".away"))
    gone = get(daemon)
    assert v1("disks").DiskState.Name(gone.state) == "DISK_STATE_FAILED"
    assert str(file) in gone.message and "No such file" in gone.message
    listed, = daemon.disks.List(v1("disks").ListDisksRequest(parent="projects/p")).disks
    assert listed.state == gone.state
    file.with_suffix(".away").rename(file)
    with file.open("r+b") as opened:
        opened.truncate(MIB)
    assert f"has {MIB} bytes of {8 * MIB}" in get(daemon).message
    with file.open("r+b") as opened:
        opened.truncate(8 * MIB)
    assert v1("disks").DiskState.Name(get(daemon).state) == "DISK_STATE_READY"


def test_preallocated_disk_has_its_room(daemon):
    daemon.well(create(daemon, allocation="ALLOCATION_FULL"))
    disk = get(daemon)
    assert disk.allocated_bytes >= 8 * MIB
    pools = daemon.disks.ListPools(v1("disks").ListPoolsRequest()).pools
    assert [(pool.pool, pool.provisioned_bytes) for pool in pools] == [("default", 8 * MIB)]


def test_disk_without_room_leaves_nothing(daemon):
    free = daemon.disks.ListPools(v1("disks").ListPoolsRequest()).pools[0].free_bytes
    size = (free // 512 + (1 << 22)) * 512
    done = daemon.wait(create(daemon, size=size, allocation="ALLOCATION_FULL"))
    assert done.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], done
    assert 'pool "default"' in done.error.message
    assert not daemon.disks.List(v1("disks").ListDisksRequest(parent="projects/p")).disks
    assert not list((daemon.state_dir / "disks/default").iterdir())


def test_bad_disks_are_refused(daemon):
    for fields, field in (({"size": 0}, "disk.size_bytes"), ({"size": 513}, "disk.size_bytes"),
                          ({"pool": "none"}, "disk.pool"),
                          ({"block_device": "/dev/sda"}, "disk.block_device"),
                          ({"disk_id": "../x"}, "disk_id")):
        assert gemeld.fields_of(refused(lambda: create(daemon, **fields))) == [field]


def test_disk_of_a_machine_is_not_deleted(daemon):
    daemon.well(create(daemon))
    spec = daemon.spec("idle", "")
    spec.disks.add(disk=ROOT_DISK)
    daemon.create(spec=spec)
    assert list(get(daemon).users) == ["projects/p/vms/web"]
    error = refused(lambda: daemon.disks.Delete(v1("disks").DeleteDiskRequest(name=ROOT_DISK)))
    assert gemeld.reason_of(error) == "RESOURCE_IN_USE"


def test_disk_of_another_project_is_none(daemon):
    daemon.well(create(daemon))
    spec = daemon.spec("idle", "")
    spec.disks.add(disk=ROOT_DISK)
    error = refused(lambda: daemon.create(spec=spec, project="q"))
    assert gemeld.fields_of(error) == ["virtual_machine.spec.disks[0].disk"]
    assert "is not a disk of projects/q" in error.details()
    assert not get(daemon).users


@needs_kvm
def test_machine_with_a_disk_runs(daemon):
    daemon.well(create(daemon))
    spec = daemon.spec("idle", "")
    spec.disks.add(disk=ROOT_DISK)
    daemon.well(daemon.create(run=True, spec=spec))
    seen = daemon.vms.Inspect(v1("virtual_machines").InspectVirtualMachineRequest(
        name="projects/p/vms/web"))
    assert any(device.kind == "virtio-blk" for device in seen.devices)
    other = daemon.wait(daemon.create("two", run=True, spec=spec))
    assert other.HasField("error"), "two machines write to one disk"


def test_disks_survive_sigkill(daemon):
    messages = v1("disks")
    names = [f"disk-{number}" for number in range(5)]
    for name in names:
        create(daemon, name)
    daemon.kill()
    daemon.start()
    daemon.until(lambda: all(v1("disks").DiskState.Name(disk.state) == "DISK_STATE_READY"
                             for disk in daemon.disks.List(
                                 messages.ListDisksRequest(parent="projects/p")).disks))
    listed = daemon.disks.List(messages.ListDisksRequest(parent="projects/p")).disks
    assert sorted(disk.name for disk in listed) == [f"projects/p/disks/{name}" for name in names]
    assert {file_of(daemon, disk) for disk in listed} == \
        set((daemon.state_dir / "disks/default").iterdir())
