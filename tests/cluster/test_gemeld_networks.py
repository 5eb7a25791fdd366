"""gemeld fails over machines whose cards are on networks: two nodes, each a host of its own in a network
namespace, on a switch to which their bridges are joined; guests that send what a test says."""

import contextlib
import os
import pathlib
import shutil
import socket
import sys
import time

import gemeld_node
import keeper
import members
import pytest
from gemeld_node import VM, gemeld

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from hostnet_host import Namespace, ip  # noqa: E402
from wire_guest import Wire, guest_of  # noqa: E402

LAN, OFFICE = "projects/p/networks/lan", "projects/p/networks/office"
GATEWAY = "10.88.0.1"
RARP = b"\x80\x35"
BROADCAST = b"\xff" * 6

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun") or not os.access("/dev/kvm", os.W_OK)
    or not all(map(shutil.which, ("nft", "nsenter"))),
    reason="needs root, /dev/net/tun, /dev/kvm, nft, nsenter")


class Sniffer:
    """What comes along an interface from now on."""

    def __init__(self, namespace, interface):
        self.socket = namespace.inside(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        self.socket.bind((interface, 0))
        self.socket.settimeout(keeper.PATIENCE)

    def until(self, wanted):
        """The first frame that is wanted."""
        end = time.monotonic() + keeper.PATIENCE
        while time.monotonic() < end:
            frame = self.socket.recv(4096)
            if wanted(frame):
                return frame
        raise TimeoutError("no such frame")

    def close(self):
        self.socket.close()


class Site:
    """A switch with etcd beside it, and nodes a and b on it: `sa` and `sb` are its sockets for their bridges
    br0, which networks may be."""

    def __init__(self, folder):
        self.stack = contextlib.ExitStack()
        try:
            self.build(folder)
        except BaseException:
            self.stack.close()
            raise

    def build(self, folder):
        self.hub = self.namespace("hub")
        self.hosts = {name: self.namespace(name) for name in "ab"}
        for bridge in ("core", "switch"):
            self.hub.run("ip", "link", "add", bridge, "type", "bridge")
            self.hub.run("ip", "link", "set", bridge, "up")
        places = [f"10.7.0.{number}" for number in (1, 2, 3)]
        for place in places:
            self.hub.run("ip", "addr", "add", f"{place}/24", "dev", "core")
        for number, (name, host) in enumerate(self.hosts.items(), 11):
            self.wire(f"c{name}", "core", host, "up0")
            self.wire(f"s{name}", "switch", host, "p0")
            host.run("ip", "addr", "add", f"10.7.0.{number}/24", "dev", "up0")
            host.run("ip", "link", "add", "br0", "type", "bridge")
            host.run("ip", "link", "set", "p0", "master", "br0")
            host.run("ip", "link", "set", "br0", "up")
        inside = ["nsenter", f"--net=/run/netns/{self.hub.name}", "--"]
        self.etcd = members.Etcd(places=places, inside=lambda i: inside)
        self.stack.callback(self.etcd.close)
        self.etcd.start()
        self.hub.inside(lambda: self.etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1)))
        (folder / "config").write_text('host_bridges = ["br0"]\n', encoding="ascii")
        self.nodes = self.stack.enter_context(gemeld_node.together(
            gemeld_node.GemeldNode(folder, number, name, self.etcd, ("--config", folder / "config"),
                                   inside=("nsenter", f"--net=/run/netns/{self.hosts[name].name}", "--"))
            for number, name in enumerate("ab", 1)))

    def namespace(self, name):
        space = Namespace(f"fo-{name}")
        self.stack.callback(space.close)
        return space

    def wire(self, here, bridge, host, there):
        ip("-n", self.hub.name, "link", "add", here, "master", bridge, "type", "veth", "peer", "name",
           there, "netns", host.name)
        self.hub.run("ip", "link", "set", here, "up")
        host.run("ip", "link", "set", there, "up")

    def sniffer(self, interface):
        sniffer = Sniffer(self.hub, interface)
        self.stack.callback(sniffer.close)
        return sniffer

    def guest(self, node, vm=VM):
        """The wire of the machine that runs there, and its card."""
        wire = Wire(node.daemon, vm)
        self.stack.callback(wire.close)
        return wire, node.get(vm).spec.nics[0]

    def left(self, name, nic):
        """What of a machine's card there is on that node's host."""
        host = self.hosts[name]
        taps = host.run("ip", "-o", "link", "show", "type", "tun").splitlines()
        rules = [line for line in host.run("nft", "list", "ruleset").splitlines()
                 if nic.mac_address in line]
        return taps + rules


@pytest.fixture(name="site")
def site_fixture(tmp_path):
    site = Site(tmp_path)
    yield site
    site.stack.close()


def network(node, name=LAN, subnet="10.88.0.0/24", **fields):
    messages = gemeld.v1("networks")
    if "host_bridge" not in fields:
        fields["managed_bridge"] = messages.ManagedBridge(subnet=subnet)
    parent, network_id = name.rsplit("/networks/", 1)
    node.daemon.well(node.daemon.networks.Create(messages.CreateNetworkRequest(
        parent=parent, network_id=network_id, network=messages.Network(**fields))))


def until_networks_are_known(nodes, count):
    """So many, of all nodes together."""
    messages = gemeld.v1("clusters")
    for node in nodes:
        clusters = node.daemon.stub("clusters", "Clusters")

        def there(clusters=clusters):
            status = clusters.GetStatus(messages.GetStatusRequest(name="clusters/-"))
            return sum(len(one.networks) for one in status.nodes) == count
        node.daemon.until(there)


def machine(node, of):
    messages = gemeld.v1("virtual_machines")
    spec = node.daemon.spec("wire", "", memory=16, acpi=False, rng=False,
                            nics=[messages.NetworkInterface(network=of)],
                            failover=messages.FailoverSpec(preferred_node="nodes/a"))
    return node.daemon.create(run=True, spec=spec)


def from_card(mac):
    return lambda frame: frame[6:12] == mac


def test_after_a_loss_of_power_the_switch_finds_the_same_card_at_the_other_node(site):
    a, b = site.nodes
    for node in site.nodes:
        network(node, OFFICE, host_bridge=gemeld.v1("networks").HostBridge(interface="br0"))
    until_networks_are_known(site.nodes, 2)
    at_a, at_b = site.sniffer("sa"), site.sniffer("sb")
    a.daemon.well(machine(a, OFFICE))
    b.until("RUNNING", "a")
    wire, nic = site.guest(a)
    assert at_a.until(from_card(wire.mac))[12:14] == RARP
    wire.ours.send(BROADCAST + wire.mac + b"\x88\xb5" + b"on a".ljust(46))
    assert at_a.until(lambda frame: b"on a" in frame)[6:12] == wire.mac
    a.lose_power()
    b.until("RUNNING", "b")
    # It says where it is before its guest has said a word.
    told = at_b.until(lambda frame: frame[6:14] == wire.mac + RARP)
    assert told[:6] == BROADCAST
    other, card = site.guest(b)
    assert card == nic and other.mac == wire.mac
    other.ours.send(BROADCAST + other.mac + b"\x88\xb5" + b"on b".ljust(46))
    assert at_b.until(lambda frame: b"on b" in frame)[6:12] == wire.mac
    other.ours.send(BROADCAST + b"\2\0\0\0\0\x66" + b"\x88\xb5" + b"stolen".ljust(46))
    other.ours.send(BROADCAST + other.mac + b"\x88\xb5" + b"honest".ljust(46))
    assert b"honest" in at_b.until(lambda frame: b"stolen" in frame or b"honest" in frame)
    a.start()
    a.until("RUNNING", "b")
    a.daemon.until(lambda: not site.left("a", nic), "a has nothing of it")
    assert site.left("b", nic)


def test_daemon_killed_and_started_card_stays_in_its_network(site):
    a, b = site.nodes
    for node in site.nodes:
        network(node)
    until_networks_are_known(site.nodes, 2)
    a.daemon.well(machine(a, LAN))
    b.until("RUNNING", "a")
    wire, nic = site.guest(a)
    assert nic.ip_address == "10.88.0.2"
    guest = guest_of(wire, nic.ip_address, GATEWAY)
    guest.ping(GATEWAY)
    links, rules = site.hosts["a"].run("ip", "-o", "link"), site.left("a", nic)
    a.daemon.kill()
    a.daemon.start()
    wire.reconnect()
    guest.ping(GATEWAY)
    a.until_member_of(2)
    a.until("RUNNING", "a")
    guest.ping(GATEWAY)
    assert site.hosts["a"].run("ip", "-o", "link") == links and site.left("a", nic) == rules
    b.daemon.well(b.daemon.do("Stop"))
    a.until("STOPPED")
    a.daemon.until(lambda: not site.left("a", nic), "nothing of it is left")
    b.daemon.well(b.daemon.do("Start"))
    a.until("RUNNING", "a")
    wire.disconnect()
    a.lose_power()
    b.until("RUNNING", "b")
    wire, card = site.guest(b)
    assert card == nic
    guest_of(wire, nic.ip_address, GATEWAY).ping(GATEWAY)


def test_node_without_the_network_is_no_candidate_until_it_has_it(site):
    a, b = site.nodes
    network(a)
    until_networks_are_known(site.nodes, 1)
    spec = ("--kernel", str(gemeld.GUESTS / "guest-console"), "--cmdline", "echo", "--machine", "micro-1",
            "--memory", "32M", "--failover", "preferred=b", "--project", "p", "--start", "--wait")
    b.gemel("vm", "create", "web", "--nic", "lan", *spec)
    b.until("RUNNING", "a")
    text = b.gemel("cluster", "explain", "--project", "p", "web")
    assert f'not on nodes/b: spec.nics[0].network "{LAN}": there is no such network' in text, text
    assert "not its networks" in b.gemel("cluster", "status")
    a.lose_power()
    b.daemon.until(lambda: b.get().status.reason == "NO_NETWORK")
    assert b.jail(b.get().uid) is None and LAN in b.get().status.message
    network(b)
    nic = b.until("RUNNING", "b").spec.nics[0]
    assert site.left("b", nic)
