"""gemel.v1.Networks and the cards on them: a daemon in a network namespace with a world behind it,
guests whose cards send what a test says."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import gemeld
import grpc
import pytest
from gemeld import ROOT, v1
from test_client import Client
from wire_guest import Wire, guest_of

sys.path.append(str(pathlib.Path(ROOT) / "tests/integration"))
from hostnet_host import Namespace, ip  # noqa: E402  pylint: disable=wrong-import-position

WORLD = "192.0.2.2"
LAN, OTHER = "projects/p/networks/lan", "projects/q/networks/lan"
# linux/if_packet.h; of what tells a frame's tag, the VLAN is the sixth.
SOL_PACKET, PACKET_AUXDATA, ETH_P_ALL = 263, 8, 3
AUXDATA = struct.Struct("=IIIHHHH")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun") or not os.access("/dev/kvm", os.W_OK)
    or not all(map(shutil.which, ("dnsmasq", "nft", "nsenter"))),
    reason="needs root, /dev/net/tun, /dev/kvm, dnsmasq, nft, nsenter")


class Node:
    """A host with an uplink to a world, and a daemon on it."""

    def __init__(self, folder):
        self.stack = contextlib.ExitStack()
        self.folder = folder
        self.wires = []
        try:
            self.begin()
        except BaseException:
            self.stack.close()
            raise

    def begin(self):
        self.host, self.world = self.namespace("host"), self.namespace("world")
        ip("-n", self.host.name, "link", "add", "up0", "type", "veth", "peer", "name", "eth0",
           "netns", self.world.name)
        for space, name, address in ((self.host, "up0", "192.0.2.1/24"),
                                     (self.world, "eth0", f"{WORLD}/24")):
            space.run("ip", "link", "set", name, "addrgenmode", "none")
            space.run("ip", "addr", "add", address, "dev", name)
            space.run("ip", "link", "set", name, "up")
        # Something of the administrator's.
        self.host.run("nft", "add table inet admin; add chain inet admin input "
                      "{ type filter hook input priority 0; policy accept; }; "
                      "add rule inet admin input tcp dport 22 counter accept")
        self.host.run("ip", "link", "add", "br0", "address", "02:00:00:00:00:f0", "type", "bridge")
        # With a port, since whichever came first would give it its carrier, and what follows from that.
        self.host.run("ip", "link", "add", "p0", "master", "br0", "type", "veth", "peer", "name", "p1")
        for name in ("p0", "p1", "br0"):
            self.host.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6")
            self.host.run("ip", "link", "set", name, "up")
        deadline = time.monotonic() + gemeld.DEADLINE
        while "state UP" not in self.host.run("ip", "-o", "link", "show", "br0"):
            assert time.monotonic() < deadline, "br0 has no carrier"
            time.sleep(0.02)
        (self.folder / "config").write_text('host_bridges = ["br0"]\n', encoding="ascii")
        self.before = self.host.snapshot()
        self.daemon = gemeld.Gemeld(self.folder, "--config", self.folder / "config",
                                    namespace=self.host.name).start()

    def namespace(self, name):
        space = Namespace(f"api-{name}")
        self.stack.callback(space.close)
        return space

    def servers(self):
        """Our dnsmasq processes."""
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            words = gemeld.words_of(folder.name)
            if any(word.startswith(f"--conf-file={self.folder}") for word in words) and \
                    "dnsmasq" in words[0]:
                found.append(int(folder.name))
        return found

    # ---- networks

    def create(self, name=LAN, subnet="10.88.0.0/24", nat=True, dhcp=True, **fields):
        messages = v1("networks")
        parent, network_id = name.rsplit("/networks/", 1)
        if "host_bridge" not in fields:
            fields["managed_bridge"] = messages.ManagedBridge(
                subnet=subnet, nat=nat, dhcp=dhcp, dns=True)
        return self.daemon.networks.Create(messages.CreateNetworkRequest(
            parent=parent, network_id=network_id, network=messages.Network(**fields)))

    def get(self, name=LAN):
        return self.daemon.networks.Get(v1("networks").GetNetworkRequest(name=name))

    def list(self):
        return self.daemon.networks.List(
            v1("networks").ListNetworksRequest(parent="projects/-")).networks

    def delete(self, name=LAN):
        return self.daemon.networks.Delete(v1("networks").DeleteNetworkRequest(name=name))

    def state(self, name=LAN):
        return v1("networks").NetworkState.Name(self.get(name).state).removeprefix("NETWORK_STATE_")

    # ---- machines

    def spec(self, network=LAN, **fields):
        nic = v1("virtual_machines").NetworkInterface(network=network, **fields)
        return self.daemon.spec("wire", "", memory=16, acpi=False, rng=False, nics=[nic])

    def machine(self, name, network=LAN, **fields):
        """A machine that runs, its wire, and the address of its card."""
        project = network.split("/")[1]
        self.daemon.well(self.daemon.create(name, run=True, project=project,
                                            spec=self.spec(network, **fields)))
        full = f"projects/{project}/vms/{name}"
        wire = Wire(self.daemon, full)
        self.wires.append(wire)
        nic = self.daemon.get(full).spec.nics[0]
        assert wire.mac == bytes.fromhex(nic.mac_address.replace(":", ""))
        return wire, nic.ip_address

    def restart(self):
        for wire in self.wires:
            wire.disconnect()
        self.daemon.kill()
        self.daemon.start()
        for wire in self.wires:
            wire.connect()

    def close(self):
        try:
            for wire in self.wires:
                wire.close()
            self.wires = []
            self.daemon.close()
        finally:
            self.stack.close()
            for pid in self.servers():
                os.kill(pid, 9)


@pytest.fixture(name="node")
def node_fixture():
    # Servers run as nobody special, who must be able to reach their files.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gemel-networks-"))
    folder.chmod(0o711)
    node = Node(folder)
    try:
        yield node
    finally:
        node.close()
        shutil.rmtree(folder)


def refused(call):
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return failure.value


def lease(wire, address, gateway):
    """What DHCP says to a card."""
    guest = guest_of(wire, "0.0.0.0", gateway)
    assert ask(guest, 1)[:2] == (2, address)
    kind, given, options = ask(guest, 3, address)
    assert kind == 5
    return given, options


def ask(guest, *words):
    """As a guest does, again when nothing comes: the server may not know the card yet."""
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            return guest.dhcp(*words, deadline=5)
    return guest.dhcp(*words)


def hears(guest, port, seconds):
    """Whether a datagram comes to the port."""
    try:
        return guest.receive_udp(port, seconds)[2]
    except TimeoutError:
        return None


def talk(sender, receiver, data, source=None):
    """A datagram from one guest to the other, who answers ARP meanwhile."""
    heard = []
    thread = threading.Thread(target=lambda: heard.append(hears(receiver, 7, gemeld.DEADLINE)))
    thread.start()
    sender.send_udp(receiver.address, 7, 9, data, source)
    thread.join()
    return heard[0]


def udp_frame(source_mac, source, target_mac, target, data):
    payload = struct.pack("!HHHH", 9, 7, 8 + len(data), 0) + data
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0,
                         socket.inet_aton(source), socket.inet_aton(target))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + header[12:]
    return target_mac + source_mac + b"\x08\x00" + header + payload


def test_guests_of_a_network_and_nobody_else(node):
    node.daemon.well(node.create())
    node.daemon.well(node.create(OTHER, "10.89.0.0/24"))
    (wire_a, a), (wire_b, b) = node.machine("web"), node.machine("db")
    wire_c, c = node.machine("spy", OTHER)
    assert (a, b, c) == ("10.88.0.2", "10.88.0.3", "10.89.0.2")
    given, options = lease(wire_a, a, "10.88.0.1")
    assert given == a and options[12] == b"web" and options[3] == socket.inet_aton("10.88.0.1")
    assert lease(wire_b, b, "10.88.0.1")[0] == b
    leases = node.daemon.networks.ListLeases(v1("networks").ListLeasesRequest(parent=LAN)).leases
    assert {(one.ip_address, one.virtual_machine) for one in leases} == \
        {(a, "projects/p/vms/web"), (b, "projects/p/vms/db")}
    web, db = guest_of(wire_a, a, b), guest_of(wire_b, b, a)
    assert talk(web, db, b"hello") == b"hello"
    # What is not theirs to send goes nowhere; an honest frame behind it says that it would be here.
    for frame in (udp_frame(wire_c.mac, a, wire_b.mac, b, b"another's MAC"),
                  udp_frame(wire_a.mac, "10.88.0.9", wire_b.mac, b, b"another's address"),
                  udp_frame(wire_a.mac, "10.88.0.1", wire_b.mac, b, b"the gateway's address")):
        web.send_frame(frame)
        assert talk(web, db, b"honest") == b"honest"
    # Another tenant's: neither by its address nor by the gateway's.
    spy = guest_of(wire_c, c, "10.89.0.1")
    spy.ping("10.89.0.1")
    spy.send_udp(b, 7, 9, b"from another tenant")
    spy.send_udp("10.88.0.1", 7, 9, b"from another tenant")
    spy.ping("10.89.0.1")
    assert talk(web, db, b"honest") == b"honest"


def test_restart_of_the_daemon_cuts_no_connection(node):
    node.daemon.well(node.create())
    wire, address = node.machine("web")
    links = node.host.run("ip", "-o", "link")
    servers = node.servers()
    guest = guest_of(wire, address, "10.88.0.1")
    with node.world.inside(lambda: socket.create_server((WORLD, 7000))) as server:
        server.settimeout(gemeld.DEADLINE)
        connection = guest.connect(WORLD, 7000, 40000)
        peer, (source, _) = server.accept()
        assert source == "192.0.2.1"  # masqueraded
        with peer:
            peer.settimeout(gemeld.DEADLINE)
            for turn in range(2):
                connection.send(b"before")
                assert peer.recv(64) == b"before"
                node.restart()
                connection.send(b"after")
                assert peer.recv(64) == b"after", turn
                peer.sendall(b"and back")
                assert connection.receive(8) == b"and back"
    assert node.host.run("ip", "-o", "link") == links
    assert node.servers() == servers
    assert node.state() == "READY"


def test_delete_leaves_the_host_as_it_was(node):
    assert node.host.snapshot() == node.before  # by starting
    client = Client(node.folder, node.daemon)
    client.ok("net", "create", "lan", "--subnet", "10.88.0.0/24", "--wait")
    bridge = node.get().bridge
    assert client.ok("net", "list").splitlines()[1].split() == \
        ["lan", "ready", bridge, "10.88.0.0/24", "-"]
    node.daemon.well(node.create("projects/p/networks/office",
                                 host_bridge=v1("networks").HostBridge(interface="br0")))
    node.machine("web")
    node.machine("desk", "projects/p/networks/office")
    assert json.loads(client.ok("net", "get", "lan", "-o", "json"))["users"] == ["projects/p/vms/web"]
    assert "projects/p/vms/web" in client.fails(5, "net", "delete", "lan", "--yes", "--wait")
    assert len(node.servers()) == 1 and node.host.snapshot() != node.before
    lease(node.wires[0], "10.88.0.2", "10.88.0.1")
    assert client.ok("net", "leases", "lan").splitlines()[1].split()[0] == "10.88.0.2"
    for wire in node.wires:
        wire.close()
        node.daemon.well(node.daemon.do("Delete", wire.name, force=True))
    node.wires = []
    client.ok("net", "delete", "lan", "--yes", "--wait")
    client.ok("net", "delete", "office", "--yes", "--wait")
    assert "does not exist" in client.fails(4, "net", "get", "lan")
    assert node.host.snapshot() == node.before
    assert not node.servers() and not list((node.daemon.run_dir / "networks").iterdir())
    assert not (node.daemon.state_dir / "forwarding").exists()


def test_what_somebody_broke_is_put_back_and_told(node):
    node.daemon.well(node.create())
    wire, address = node.machine("web")
    guest = guest_of(wire, address, "10.88.0.1")
    guest.ping("10.88.0.1")
    rules = node.host.run("nft", "list", "ruleset")
    (server,) = node.servers()
    node.host.run("nft", "flush", "ruleset")
    node.host.run("ip", "link", "set", node.get().bridge, "down")
    os.kill(server, 9)
    messages = v1("events")

    def repairs():
        page = node.daemon.events.List(messages.ListEventsRequest(
            page_size=1000, filter='reason = "NETWORK_REPAIRED"'))
        return {event.message.split(":")[0] for event in page.events}

    node.daemon.until(lambda: len(repairs()) >= 3, "repairs")
    assert any("DHCP" in text for text in repairs()), repairs()
    # But for the administrator's table, which is not ours to put back.
    assert node.host.run("nft", "list", "ruleset") in rules
    node.daemon.until(lambda: node.servers() and node.state() == "READY", "another server")
    assert node.servers() != [server]
    guest.ping("10.88.0.1")
    assert lease(wire, address, "10.88.0.1")[0] == address


def vlans_of_broadcasts(wire, tell):
    """The tags with which a frame of `tell` comes out of the bridge at this end of a cable."""
    tags = set()
    tell(b"to everybody")
    deadline = time.monotonic() + gemeld.DEADLINE
    while not tags and time.monotonic() < deadline:
        data, told, _, _ = wire.recvmsg(2048, socket.CMSG_SPACE(AUXDATA.size))
        if b"to everybody" in data:
            tags.update(AUXDATA.unpack(one[2])[5] & 0xfff for one in told)
    return tags


def trunk_of(node, vlan):
    """The far end of the bridge's own port, which is in a VLAN with its tag."""
    if node.host.run("ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1",
                     check=False).returncode != 0:
        pytest.skip("this kernel has no CONFIG_BRIDGE_VLAN_FILTERING: tests/os/test_daemon.py runs this")
    node.host.run("bridge", "vlan", "add", "dev", "p0", "vid", str(vlan))

    def far_end():
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        end.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        end.settimeout(gemeld.DEADLINE)
        end.bind(("p1", ETH_P_ALL))
        return end
    return node.host.inside(far_end)


def test_tags_keep_machines_apart(node):
    with trunk_of(node, 7) as trunk:
        node.daemon.well(node.create(host_bridge=v1("networks").HostBridge(interface="br0")))
        guests = {}
        for number, (name, vlan) in enumerate((("web", 7), ("db", 7), ("spy", 8), ("friend", 8)), 1):
            wire, address = node.machine(name, vlan=vlan, ip_address=f"10.1.0.{number}")
            guests[name] = guest_of(wire, address, f"10.1.0.{number ^ 3 if number < 3 else 7 - number}")
        web, db, spy, friend = guests.values()
        # To all: its own VLAN hears it.
        spy.send_frame(udp_frame(spy.mac, spy.address, b"\xff" * 6, db.address, b"from another VLAN"))
        assert hears(friend, 7, gemeld.DEADLINE) == b"from another VLAN"
        assert talk(web, db, b"honest") == b"honest"

        def tell(data):
            for guest in (spy, web):
                guest.send_frame(udp_frame(guest.mac, guest.address, b"\xff" * 6, "10.1.0.255", data))
        assert vlans_of_broadcasts(trunk, tell) == {7}


def test_what_the_host_cannot_be_is_refused(node):
    done = node.daemon.wait(node.create(subnet="192.0.2.0/25"))
    assert "up0" in done.error.message and not node.list()
    office = {"host_bridge": v1("networks").HostBridge(interface="up0")}
    assert gemeld.fields_of(refused(lambda: node.create(**office))) == \
        ["network.host_bridge.interface"]
    node.host.run("ip", "link", "del", "br0")
    node.host.run("ip", "link", "del", "p0")
    office["host_bridge"].interface = "br0"
    done = node.daemon.wait(node.create(**office))
    assert "the host has no such interface" in done.error.message and not node.list()


def test_network_is_changed_but_for_its_subnet(node):
    node.daemon.well(node.create())
    messages = v1("networks")
    request = messages.UpdateNetworkRequest(network=node.get())
    request.network.managed_bridge.dhcp_first = "10.88.0.50"
    request.update_mask.paths.append("managed_bridge")
    node.daemon.well(node.daemon.networks.Update(request))
    assert node.get().managed_bridge.dhcp_first == "10.88.0.50"
    assert gemeld.reason_of(refused(lambda: node.daemon.networks.Update(request))) == "ETAG_MISMATCH"
    request.network.etag = ""
    request.network.managed_bridge.subnet = "10.89.0.0/24"
    assert gemeld.fields_of(refused(lambda: node.daemon.networks.Update(request))) == \
        ["network.managed_bridge.subnet"]
    assert node.get().managed_bridge.subnet == "10.88.0.0/24"


def test_address_of_a_machine_that_is_gone_can_be_had_again(node):
    node.daemon.well(node.create())
    for name in ("one", "two"):
        wire, address = node.machine(name)
        assert address == "10.88.0.2" and lease(wire, address, "10.88.0.1")[0] == address
        wire.close()
        node.wires.remove(wire)
        node.daemon.well(node.daemon.do("Delete", wire.name, force=True))


class Workload(threading.Thread):
    """Networks and machines on them come and go until the daemon is gone."""

    def __init__(self, node, seed):
        super().__init__()
        self.node, self.random, self.failure = node, random.Random(seed), None

    def run(self):
        try:
            while True:
                with contextlib.suppress(grpc.RpcError):
                    self.step(self.random.randrange(3))
                if self.node.daemon.process.poll() is not None:
                    return
                self.node.get(LAN) if self.random.random() < 0.1 else None
        except (grpc.RpcError, ValueError):
            return
        except Exception as error:
            self.failure = error

    def step(self, number):
        name = f"projects/p/networks/n{number}"
        vm = f"projects/p/vms/vm-{number}"
        verb = self.random.choice(("create", "machine", "machine", "stop", "delete"))
        if verb == "create":
            self.node.create(name, f"10.{90 + number}.0.0/24", dhcp=number == 0)
        elif verb == "machine":
            self.node.daemon.create(f"vm-{number}", run=True, spec=self.node.spec(name))
        elif verb == "stop":
            self.node.daemon.do("Delete", vm, force=True)
        else:
            self.node.delete(name)


def test_killed_at_any_time_nothing_stays_that_nobody_wants(node):
    seed = int(os.environ.get("GEMEL_SIGKILL_SEED") or time.time_ns() % 1_000_000)
    chance = random.Random(seed)
    for turn in range(int(os.environ.get("GEMEL_NETWORK_ROUNDS") or 5)):
        work = Workload(node, chance.random())
        work.start()
        time.sleep(chance.uniform(0.1, 0.8))  # where in the workload it dies
        node.daemon.kill()
        work.join()
        assert work.failure is None, (seed, turn, work.failure)
        node.daemon.start()
        settle(node)
        check(node, (seed, turn))
    for vm in node.daemon.list():
        node.daemon.well(node.daemon.do("Delete", vm.name, force=True))
    for network in node.list():
        node.daemon.well(node.delete(network.name))
    assert node.host.snapshot() == node.before, seed
    assert not node.servers() and not list((node.daemon.run_dir / "networks").iterdir())


def settle(node):
    operations = v1("operations")
    node.daemon.until(lambda: not node.daemon.operations.List(operations.ListOperationsRequest(
        parent="projects/-", filter="done = false", page_size=1000)).operations, "operations")
    # What the daemon found is behind what it is asked now.
    node.daemon.well(node.create("projects/p/networks/last", "10.99.0.0/24", dhcp=False))
    node.daemon.well(node.delete("projects/p/networks/last"))


def check(node, where):
    """Records and interfaces tell the same."""
    networks = {network.name: network for network in node.list()}
    links = node.host.run("ip", "-o", "link").splitlines()
    names = {line.split(": ")[1].split("@")[0] for line in links} - {"lo", "up0", "br0", "p0", "p1"}
    bridges = {network.bridge for network in networks.values()}
    messages = v1("virtual_machines")
    running = [vm for vm in node.daemon.list()
               if vm.status.state == messages.VIRTUAL_MACHINE_STATE_RUNNING]
    assert bridges <= names, (where, names, networks)
    assert len(names - bridges) == len(running), (where, names, running)
    rules = node.host.run("nft", "list", "ruleset")
    assert all(name in rules for name in names), (where, names, rules)


def test_no_network_card_needs_a_network(node):
    """A machine without a card on a network has nothing to do with any of this."""
    node.daemon.well(node.daemon.create(run=True))
    assert node.host.snapshot() == node.before
    assert subprocess.run(["ip", "netns", "exec", node.host.name, "nft", "list", "tables"],
                          check=True, capture_output=True, text=True).stdout.strip() == \
        "table inet admin"
