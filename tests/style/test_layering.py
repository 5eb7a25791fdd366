"""One way down: a layer includes only what the layers below it offer.

The table says what each folder may include beside itself; what those may include comes with them.
A new folder or a new arrow belongs here first, with its reason in the commit.
"""

import functools

import pytest
import tree

# Longest match wins: virtio/blk is virtio/blk, virtio/device.h is virtio.
ALLOWED = {
    "base": (),
    "proto": (),
    "vmm/config": ("base",),
    "vmm/memory": ("base",),
    "vmm/bus": ("base",),
    # Its policy names KVM's ioctls.
    "vmm/sandbox": ("vmm/config", "vmm/kvm"),
    "block": ("base",),
    # Ways out for frames; beside block, and as ignorant of virtio and KVM.
    "net": ("base",),
    # Bridges, rules, DHCP and DNS of the host; for the daemon, and without gRPC.
    "hostnet": ("base",),
    # The rules of failover: no clock, no file, no thread; it does not even know what a machine is.
    "cluster": ("base",),
    # The deadline page between gemel-keeper and VM processes: memory, and a clock.
    "cluster/page": ("cluster",),
    # The file of a cluster's node, which all of its programs read.
    "cluster/config": ("cluster",),
    # The rules' records in etcd; gRPC ends in grpc_*.
    "etcd": ("cluster", "cluster/config", "proto"),
    # What those rules want of disks, done on disks.
    "storage": ("block", "cluster"),
    "virtio/queue": ("vmm/memory",),
    "virtio": ("virtio/queue", "vmm/bus"),
    "virtio/transport": ("virtio", "vmm/pci"),
    "virtio/blk": ("virtio", "block"),
    "virtio/scsi": ("virtio", "block"),
    "virtio/net": ("virtio", "net"),
    "virtio/console": ("virtio",),
    "virtio/rng": ("virtio",),
    "virtio/balloon": ("virtio",),
    "virtio/vsock": ("virtio",),
    "vmm/pci": ("vmm/bus",),
    # What a PC is: addresses, registers, tables. It knows no KVM, so KVM may know it.
    # The latch of a VM process.
    "vmm/fence": ("base", "cluster/page"),
    "vmm/arch/x86": ("vmm/memory", "vmm/bus", "vmm/config"),
    "vmm/kvm": ("vmm/memory", "vmm/bus", "vmm/arch/x86"),
    "vmm/boot": ("vmm/memory", "vmm/bus", "vmm/config", "vmm/arch/x86"),
    "vmm/devices": ("vmm/memory", "vmm/bus", "vmm/config", "vmm/arch/x86"),
    "vmm/control": ("base", "vmm/config", "proto", "cluster/page"),
    # The only assembler: everything below; of the cluster, the fence alone.
    "vmm/machine": ("vmm/boot", "vmm/devices", "vmm/kvm", "vmm/fence", "vmm/pci", "virtio/blk", "virtio/console",
                    "virtio/net", "virtio/rng", "virtio/scsi", "virtio/transport",
                    "virtio/balloon", "virtio/vsock"),
    "vmm/process": ("vmm/machine", "vmm/control", "vmm/sandbox"),
    # gemel-jail is so small that it has nothing of ours beside itself.
    "jail": (),
    # A certificate authority; OpenSSL ends there.
    "pki": ("base",),
    # Who may do what: rules and files; gRPC itself only in server_tls.
    "grpc/access": ("vmm/config", "pki"),
    "grpc": ("grpc/access", "hostnet", "vmm/config", "keeper", "vmm/control", "launch", "storage", "proto"),
    # gemel-keeper; gemeld shares what they say to each other.
    "keeper": ("etcd", "cluster/config", "cluster/page", "vmm/control", "proto"),
    # gemel-member and gemel-witness: forming a cluster, and etcd.
    "member": ("etcd", "cluster/config", "launch", "pki", "proto"),
    # Programs beside gemel-vmm, each with the library that it is there to keep away from it.
    "helpers/slirp": ("vmm/config",),
    "helpers/dial": ("block",),
    # Opens and locks what a VM is made of and starts its process: for gemel and for gemeld.
    "launch": ("vmm/config", "vmm/control", "block", "net"),
    "cli": ("vmm/config", "vmm/control", "launch"),
    # What asks gemeld, and links gRPC for it.
    # It forms clusters, too.
    "cli/client": ("cli", "member", "pki", "proto"),
}
# cli/host_check asks KVM itself what it can do, with guests of a few instructions.
# cli/vsock_dialer speaks to the vsock device.
EXTRA = {"cli/host_check": ("vmm/kvm",), "cli/command_pki": ("pki",),
         "cli/vsock_dialer": ("virtio/vsock",)}
LAYERED = {folder.split("/")[0] for folder in ALLOWED}


def layer_of(path):
    """The folder of the table that a file of ours is in, or None."""
    for folder in (str(parent) for parent in path.parents):
        if folder in ALLOWED:
            return folder
    return None


@functools.cache
def reachable(folder):
    """The folder and all that it may include."""
    found = {folder}
    for below in ALLOWED[folder]:
        found |= reachable(below)
    return frozenset(found)


def allowed_for(file):
    allowed = set(reachable(layer_of(file)))
    for stem, more in EXTRA.items():
        if str(file).startswith(stem):
            allowed = allowed.union(*(reachable(folder) for folder in more))
    return allowed


def included_layer(name):
    return layer_of(tree.pathlib.PurePosixPath(name))


@pytest.mark.parametrize("folder", sorted(LAYERED))
def test_folder_includes_only_what_is_below(folder):
    wrong = []
    for file in tree.sources(".h", ".cc", folders=(folder,)):
        if layer_of(file) is None:
            wrong.append(f"{file}: its folder is not in the table of this test")
            continue
        allowed = allowed_for(file)
        for quote, name in tree.includes(file):
            layer = included_layer(name)
            if quote == '"' and layer is None:
                wrong.append(f'{file}: "{name}": not a path from the root, or not in the table')
            elif quote == '"' and layer not in allowed:
                wrong.append(f'{file}: "{name}": {layer_of(file)} may not include {layer}')
    assert not wrong, "\n".join(wrong)


def test_folders_with_sources_are_in_the_table():
    known = LAYERED | {"tests"}
    wrong = [str(file) for file in tree.files()
             if file.suffix in (".h", ".cc") and file.parts[0] not in known]
    assert not wrong, f"folders without a layer: {wrong}"


def test_kvm_header_is_included_in_vmm_kvm_alone():
    wrong = [str(file) for file in tree.sources(".h", ".cc")
             if ("<", "linux/kvm.h") in tree.includes(file) and layer_of(file) != "vmm/kvm"]
    assert not wrong, f"only vmm/kvm may include <linux/kvm.h>: {wrong}"


def test_generated_protobuf_is_included_in_vmm_control_alone():
    wrong = [str(file) for file in tree.sources(".h", ".cc")
             if any(name.endswith(".pb.h") or name.startswith("google/protobuf/")
                    for _, name in tree.includes(file))
             and layer_of(file) not in ("vmm/control", "etcd", "grpc", "keeper", "member", "cli/client")]
    assert not wrong, f"protobuf ends at the conversion to plain structs: {wrong}"


def test_no_header_of_ours_hides_one_of_grpc():
    taken = {"status.h", "slice.h", "fork.h", "grpc.h", "byte_buffer.h", "compression.h",
             "census.h", "load_reporting.h"}
    wrong = [str(file) for file in tree.files() if file.parts[0] == "grpc" and file.name in taken]
    assert not wrong, f"<grpc/...> would be found here: {wrong}"
