"""Host networks (hostnet/) on a real kernel: bridges, rules, DHCP, DNS, taps, in namespaces made here.

A host with an uplink to a world, a tool that does what gemeld does, and guests in namespaces of their
own behind the ports.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest
from hostnet_host import Guest, Namespace, Tool, ip

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
TOOL = BUILD / "tests/integration/hostnet_tool"
WORLD = "192.0.2.2"
DEADLINE = 30
MAC_A, MAC_B, MAC_C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun") or not shutil.which("dnsmasq")
    or not shutil.which("nft"), reason="needs root, /dev/net/tun, dnsmasq, nft")


class Host:
    """Namespaces, tools and guests of one test; whatever it leaves is taken away."""

    def __init__(self, folder):
        self.stack = contextlib.ExitStack()
        self.folder = folder
        self.prefix = f"t{os.getpid() % 1000}"
        for name in ("state", "run"):
            (folder / name).mkdir()
        self.tools = []
        self.host = self.namespace("host")
        self.world = self.namespace("world")
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
        self.tool = self.start()

    def namespace(self, name):
        space = Namespace(name)
        self.stack.callback(space.close)
        return space

    def start(self):
        """A daemon, as after an end of the one before."""
        tool = Tool(TOOL, self.host, self.folder, self.prefix)
        self.tools.append(tool)
        return tool

    def guest(self, port, mac, tool=None):
        _, fds = (tool or self.tool).ask(f"open {port}")
        guest = Guest(port, fds[0], mac)
        self.stack.callback(guest.close)
        return guest

    def servers(self):
        """Our dnsmasq processes: {pid: effective capabilities and user}."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                if any(word.startswith(f"--conf-file={self.folder}") for word in words) \
                        and "dnsmasq" in os.readlink(folder / "exe"):
                    found[int(folder.name)] = (folder / "status").read_text()
        return found

    def close(self):
        self.stack.close()
        for tool in self.tools:
            tool.kill()
        for pid in self.servers():
            os.kill(pid, 9)


@pytest.fixture(name="h")
def host_fixture(tmp_path_factory):
    # Servers run as nobody special, who must be able to reach their files.
    folder = pathlib.Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o711)
    host = Host(folder)
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(folder)


def two_tenants(h):
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 nat dhcp dns domain=one.gemel")
    h.tool("put-network uid=n2 subnet=10.89.0.0/24 nat dhcp dns domain=two.gemel")
    h.tool(f"put-port uid=p1 network=n1 mac={MAC_A} address=10.88.0.2 hostname=web")
    h.tool(f"put-port uid=p2 network=n1 mac={MAC_B} address=10.88.0.3 hostname=db")
    h.tool(f"put-port uid=p3 network=n2 mac={MAC_C} address=10.89.0.2 hostname=spy")


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_guest_gets_its_address_a_name_and_the_world(h):
    two_tenants(h)
    one, two = h.guest("p1", MAC_A), h.guest("p2", MAC_B)
    lease = one.dhcp()
    assert lease["ip"] == "10.88.0.2" and lease["router"] == lease["dns"] == "10.88.0.1"
    assert lease["domain"] == "one.gemel" and lease["hostname"] == "web"
    assert two.dhcp()["ip"] == "10.88.0.3"
    assert one.reaches("10.88.0.3"), "two guests of a network"
    names = one.run("busybox", "nslookup", "db.one.gemel", "10.88.0.1")
    assert "10.88.0.3" in names
    assert one.reaches(WORLD), "the world"
    assert f"{MAC_A},10.88.0.2,web" in h.tool("leases n1")
    # It is not root, and can do no more than a DHCP server has to.
    for status in h.servers().values():
        assert "Uid:\t0" not in status and "NoNewPrivs:\t1" in status
        assert "CapBnd:\t0000000000003400" in status


def test_world_sees_the_host_and_reaches_no_guest(h):
    two_tenants(h)
    one = h.guest("p1", MAC_A)
    one.dhcp()
    seen = []

    def serve():
        with socket.create_server((WORLD, 7000)) as server:
            seen.append("listening")
            connection, peer = server.accept()
            seen.append(peer[0])
            connection.close()
    thread = threading.Thread(target=lambda: h.world.inside(serve))
    thread.start()
    until(lambda: seen, "server")
    one.run("busybox", "nc", "-w", "3", WORLD, "7000", check=False)
    thread.join()
    assert seen[1] == "192.0.2.1"
    h.world.run("ip", "route", "add", "10.88.0.0/24", "via", "192.0.2.1")
    assert h.world.run("busybox", "ping", "-c", "1", "-W", "1", "10.88.0.2",
                       check=False).returncode != 0


def test_network_without_nat_ends_at_the_host(h):
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 dhcp mtu=1400")
    h.tool(f"put-port uid=p1 network=n1 mac={MAC_A} address=10.88.0.9")
    one = h.guest("p1", MAC_A)
    lease = one.dhcp()
    assert lease["ip"] == "10.88.0.9" and lease["router"] == "" and lease["mtu"] == "1400"
    one.run("ip", "route", "add", "default", "via", "10.88.0.1")
    assert one.reaches("10.88.0.1") and not one.pings(WORLD)


def test_tenants_do_not_reach_each_other(h):
    two_tenants(h)
    one, spy = h.guest("p1", MAC_A), h.guest("p3", MAC_C)
    assert one.dhcp() and spy.dhcp()
    assert spy.reaches("10.89.0.1") and spy.reaches(WORLD)
    assert not spy.pings("10.88.0.2"), "another tenant's guest"
    assert not spy.pings("10.88.0.1"), "another tenant's bridge"
    assert not spy.pings("192.0.2.1"), "the host itself"
    done = spy.run("busybox", "nslookup", "web.one.gemel", "10.89.0.1", check=False)
    assert "10.88.0.2" not in done.stdout, "another tenant's names"
    # Not by the other's own hand either: a service of the host's.
    with h.host.inside(lambda: socket.create_server(("0.0.0.0", 8022))):
        done = spy.run("busybox", "nc", "-w", "2", "10.89.0.1", "8022", check=False)
        assert done.returncode != 0


def test_spoofed_mac_goes_nowhere(h):
    two_tenants(h)
    one, two = h.guest("p1", MAC_A), h.guest("p2", MAC_B)
    assert one.dhcp() and two.dhcp() and one.reaches("10.88.0.3")
    one.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:66")
    assert not one.pings("10.88.0.1") and not one.pings("10.88.0.3")
    one.run("ip", "link", "set", "eth0", "address", MAC_A)
    assert one.reaches("10.88.0.1")


def test_spoofed_address_goes_nowhere(h):
    two_tenants(h)
    one, two = h.guest("p1", MAC_A), h.guest("p2", MAC_B)
    assert one.dhcp() and two.dhcp()
    one.run("ip", "addr", "add", "10.88.0.77/24", "dev", "eth0")
    assert not one.pings("10.88.0.1", source="10.88.0.77")
    assert not one.pings("10.88.0.3", source="10.88.0.77")
    assert one.reaches("10.88.0.3", source="10.88.0.2")


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def arp_reply(ether_source, sender_mac, sender_ip, target_mac, target_ip):
    return (mac_bytes(target_mac) + mac_bytes(ether_source) + struct.pack("!H", 0x0806)
            + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac_bytes(sender_mac)
            + socket.inet_aton(sender_ip) + mac_bytes(target_mac) + socket.inet_aton(target_ip))


def rarp(operation, ether_source, data):
    """RFC 903: 3 asks, which tells where an address is; 4 answers."""
    source = mac_bytes(ether_source)
    return (b"\xff" * 6 + source + struct.pack("!H", 0x8035)
            + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
            + source + bytes(4) + source + bytes(4) + data)


def udp_frame(source_mac, source_ip, target_mac, target_ip, ports, tags=b"", data=b"evil"):
    payload = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0,
                         socket.inet_aton(source_ip), socket.inet_aton(target_ip))
    words = struct.unpack("!10H", header)
    total = sum(words)
    total = (total & 0xffff) + (total >> 16)
    checksum = ~((total & 0xffff) + (total >> 16)) & 0xffff
    header = header[:10] + struct.pack("!H", checksum) + header[12:]
    return mac_bytes(target_mac) + mac_bytes(source_mac) + tags + b"\x08\x00" + header + payload


def sniffed(guest, send):
    """The frames that the guest's card gets while and after `send` sends them, up to a marker."""
    sniffer = guest.namespace.inside(
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    with sniffer:
        sniffer.bind(("eth0", 0))
        sniffer.settimeout(DEADLINE)
        send()
        frames = []
        while not frames or b"marker" not in frames[-1]:
            frames.append(sniffer.recv(4096))
    return frames


def test_crafted_frames_do_not_pass_and_honest_ones_do(h):
    two_tenants(h)
    one, two = h.guest("p1", MAC_A), h.guest("p2", MAC_B)
    assert one.dhcp() and two.dhcp()
    bad = {
        "another's MAC": udp_frame(MAC_B, "10.88.0.2", MAC_B, "10.88.0.3", (9, 9)),
        "another's address": udp_frame(MAC_A, "10.88.0.1", MAC_B, "10.88.0.3", (9, 9)),
        "a tag": udp_frame(MAC_A, "10.88.0.1", MAC_B, "10.88.0.3", (9, 9), b"\x81\x00\x00\x01"),
        "a priority tag": udp_frame(MAC_A, "10.88.0.1", MAC_B, "10.88.0.3", (9, 9),
                                    b"\x81\x00\x00\x00"),
        "two tags": udp_frame(MAC_A, "10.88.0.2", MAC_B, "10.88.0.3", (9, 9),
                              b"\x88\xa8\x00\x01\x81\x00\x00\x01"),
        "a DHCP server": udp_frame(MAC_A, "10.88.0.2", MAC_B, "10.88.0.3", (67, 68)),
        "IPv6": mac_bytes(MAC_B) + mac_bytes(MAC_A) + b"\x86\xdd" + bytes(40) + b"evil",
        "a bridge's frame": bytes.fromhex("0180c2000000") + mac_bytes(MAC_A) + b"\x00\x10"
                            + bytes(40) + b"evil",
        "ARP for the gateway": arp_reply(MAC_A, MAC_A, "10.88.0.1", MAC_B, "10.88.0.3") + b"evil",
        "RARP that answers": rarp(4, MAC_A, b"evil"),
        "RARP in another's name": rarp(3, MAC_C, b"evil"),
        "ARP in another's name": arp_reply(MAC_A, MAC_C, "10.88.0.2", MAC_B, "10.88.0.3") + b"evil",
    }

    def send():
        for frame in bad.values():
            one.send_frame(frame)
        one.send_frame(udp_frame(MAC_A, "10.88.0.2", MAC_B, "10.88.0.3", (9, 9),
                                 data=b"marker"))
    assert not [frame for frame in sniffed(two, send) if b"evil" in frame]

    def announce():
        one.send_frame(rarp(3, MAC_A, b"marker"))
    assert sniffed(two, announce)  # where it is now, it may say
    # The guard it is that stops them: without it, they come.
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 nat dhcp dns domain=one.gemel spoof")
    # (Not the one with the other's MAC: the bridge would then look for the other here.)
    del bad["another's MAC"]
    assert len([frame for frame in sniffed(two, send) if b"evil" in frame]) > 4


def test_spoofing_where_it_is_allowed_stays_in_its_network(h):
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 nat dhcp dns")
    h.tool("put-network uid=n2 subnet=10.89.0.0/24 nat dhcp spoof")
    h.tool(f"put-port uid=p1 network=n1 mac={MAC_A} address=10.88.0.2")
    h.tool(f"put-port uid=p2 network=n2 mac={MAC_B}")
    h.tool(f"put-port uid=p3 network=n2 mac={MAC_C}")
    one, nested, other = h.guest("p1", MAC_A), h.guest("p2", MAC_B), h.guest("p3", MAC_C)
    assert one.dhcp() and nested.dhcp() and other.dhcp()
    nested.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:66")
    assert nested.dhcp(), "an unknown card gets an address where that is allowed"
    assert nested.reaches("10.89.0.1")

    def send():
        frame = udp_frame(MAC_C, "10.88.0.77", h_mac(h, "n2"), "10.88.0.2", (9, 9))
        other.send_frame(frame)
        assert one.reaches("10.88.0.1")
        h.host.run("busybox", "ping", "-c", "1", "-p", "6d", "10.88.0.2", check=False)
        h.host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
            b"marker", ("10.88.0.2", 9)))
    frames = sniffed(one, send)
    assert not [frame for frame in frames if b"evil" in frame]


def h_mac(h, network):
    bridge = h.tool(f"bridge {network}")
    return h.host.run("ip", "-o", "link", "show", bridge).split("link/ether ")[1].split()[0]


def test_delete_leaves_the_host_as_it_was(h):
    before = h.host.snapshot()
    two_tenants(h)
    one = h.guest("p1", MAC_A)
    assert one.dhcp() and one.reaches(WORLD)
    assert h.host.snapshot() != before
    for port in ("p1", "p2", "p3"):
        h.tool(f"remove-port {port}")
    for network in ("n1", "n2"):
        h.tool(f"remove-network {network}")
    assert h.host.snapshot() == before
    assert not h.servers() and not list((h.folder / "run/networks").iterdir())
    assert not list((h.folder / "state").iterdir())


def test_forwarding_of_the_hosts_own_stays(h):
    h.host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward;"
               "echo 0 > /proc/sys/net/ipv4/conf/up0/forwarding")
    before = h.host.snapshot()
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 nat")
    h.tool("remove-network n1")
    assert h.host.snapshot() == before


def test_single_settings_of_forwarding_come_back(h):
    h.host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/up0/forwarding;"
               "echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects")
    before = h.host.snapshot()
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 nat")
    h.tool("remove-network n1")
    assert h.host.snapshot() == before


def adopt(h, *wanted):
    """Another daemon in place of the one that was killed."""
    h.tool.kill()
    h.tool = h.start()
    for line in wanted:
        h.tool(f"want-{line}")
    h.tool("adopt")


NETWORK = "network uid=n1 subnet=10.88.0.0/24 nat dhcp dns domain=one.gemel"
PORT = f"port uid=p1 network=n1 mac={MAC_A} address=10.88.0.2 hostname=web"


def test_restart_of_the_daemon_cuts_no_connection(h):
    h.tool(f"put-{NETWORK}")
    h.tool(f"put-{PORT}")
    one = h.guest("p1", MAC_A)
    one.dhcp()
    with h.world.inside(lambda: socket.create_server((WORLD, 7000))) as server:
        client = one.namespace.inside(lambda: socket.create_connection((WORLD, 7000), DEADLINE))
        connection, _ = server.accept()
        with client, connection:
            connection.settimeout(DEADLINE)
            links, servers = h.host.run("ip", "-o", "link"), h.servers().keys()
            for turn in range(3):
                client.sendall(b"before")
                assert connection.recv(64) == b"before"
                adopt(h, NETWORK, PORT)
                client.sendall(b"after")
                assert connection.recv(64) == b"after", turn
            assert h.host.run("ip", "-o", "link") == links
            assert h.servers().keys() == servers
    assert "one.gemel" in one.run("busybox", "nslookup", "web.one.gemel", "10.88.0.1")
    assert h.tool.error("open p1").startswith("error 6 ")


def test_what_nobody_wants_any_more_goes(h):
    before = h.host.snapshot()
    two_tenants(h)
    one, spy = h.guest("p1", MAC_A), h.guest("p3", MAC_C)
    assert one.dhcp() and spy.dhcp()
    adopt(h, NETWORK, PORT)
    assert h.tool("bridge n1") in h.host.run("ip", "-o", "link")
    assert len(h.servers()) == 1 and one.reaches(WORLD)
    assert not spy.pings("10.89.0.1")
    adopt(h)
    assert not h.servers()
    assert h.host.snapshot() == before


def test_reconcile_mends_what_others_broke(h):
    h.tool(f"put-{NETWORK}")
    h.tool(f"put-{PORT}")
    one = h.guest("p1", MAC_A)
    assert one.dhcp() and one.reaches(WORLD)
    bridge = h.tool("bridge n1")
    h.host.run("nft", "flush", "ruleset")
    h.host.run("ip", "link", "del", bridge)
    h.tool("reconcile")
    assert one.dhcp()["ip"] == "10.88.0.2"
    assert one.reaches(WORLD)
    one.run("ip", "addr", "add", "10.88.0.77/24", "dev", "eth0")
    assert not one.pings("10.88.0.1", source="10.88.0.77")
    after = h.host.snapshot()
    h.tool("reconcile")
    assert h.host.snapshot() == after


def test_killed_server_comes_back(h):
    h.tool(f"put-{NETWORK}")
    h.tool(f"put-{PORT}")
    one = h.guest("p1", MAC_A)
    (pid,) = h.servers()
    os.kill(pid, 9)
    until(lambda: h.servers().keys() - {pid}, "another server")
    until(lambda: h.tool("problem n1") == "", "no problem")
    assert one.dhcp()["ip"] == "10.88.0.2"


def test_daemon_killed_at_any_time_leaves_nothing(h):
    before = h.host.snapshot()
    for turn in range(10):
        h.tool.socket.send(f"put-{NETWORK}".encode())
        time.sleep(0.004 * turn)  # into one step or another
        adopt(h)
        assert h.host.snapshot() == before, turn
        assert not h.servers() and not list((h.folder / "run/networks").iterdir())


def test_port_of_a_bridge_of_the_hosts(h):
    h.host.run("ip", "link", "add", "br0", "type", "bridge")
    h.host.run("ip", "link", "set", "br0", "addrgenmode", "none")
    # As of a real card's: the kernel's own choice for it may be above those of our taps.
    h.host.run("ip", "link", "set", "up0", "address", "02:00:00:00:00:99")
    h.host.run("ip", "link", "set", "up0", "master", "br0")
    h.host.run("ip", "addr", "flush", "dev", "up0")
    h.host.run("ip", "addr", "add", "192.0.2.1/24", "dev", "br0")
    h.host.run("ip", "link", "set", "br0", "up")
    before = h.host.snapshot()
    h.tool("put-network uid=n1 host=br0")
    h.tool(f"put-port uid=p1 network=n1 mac={MAC_A}")
    h.tool(f"put-port uid=p2 network=n1 mac={MAC_B} address=192.0.2.12")
    mac = h_mac(h, "n1")
    free, pinned = h.guest("p1", MAC_A), h.guest("p2", MAC_B)
    free.run("ip", "addr", "add", "192.0.2.11/24", "dev", "eth0")
    pinned.run("ip", "addr", "add", "192.0.2.12/24", "dev", "eth0")
    pinned.run("ip", "addr", "add", "192.0.2.13/24", "dev", "eth0")
    assert free.reaches(WORLD) and pinned.reaches(WORLD, source="192.0.2.12")
    assert not pinned.pings(WORLD, source="192.0.2.13")
    free.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:66")
    assert not free.pings(WORLD)
    assert h_mac(h, "n1") == mac, "the bridge's address is its own"
    for name in ("port p1", "port p2", "network n1"):
        h.tool(f"remove-{name}")
    assert h.host.snapshot() == before


def test_errors_name_field_and_value(h):
    assert "managed_bridge.subnet \"10.88.0.7/24\": that is an address in it" in \
        h.tool.error("put-network uid=n1 subnet=10.88.0.7/24")
    assert "\"192.0.2.0/25\": the host has 192.0.2.0/24 at up0" in \
        h.tool.error("put-network uid=n1 subnet=192.0.2.0/25")
    assert "host_bridge.interface \"br9\": the host has no such interface" in \
        h.tool.error("put-network uid=n1 host=br9")
    assert "host_bridge.interface \"up0\": not a bridge but veth" in \
        h.tool.error("put-network uid=n1 host=up0")
    h.tool("put-network uid=n1 subnet=10.88.0.0/24")
    assert "overlaps 10.88.0.0/24 of another network" in \
        h.tool.error("put-network uid=n2 subnet=10.88.0.128/25")
    assert "ip_address \"10.88.0.1\"" in \
        h.tool.error(f"put-port uid=p1 network=n1 mac={MAC_A} address=10.88.0.1")
    h.tool(f"put-port uid=p1 network=n1 mac={MAC_A} address=10.88.0.2")
    assert "another port has it" in \
        h.tool.error(f"put-port uid=p2 network=n1 mac={MAC_B} address=10.88.0.2")
    assert "port \"p1\" uses it" in h.tool.error("remove-network n1")


def filters_vlans(space):
    done = space.run("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1",
                     check=False)
    space.run("ip", "link", "del", "probe", check=False)
    return done.returncode == 0


def test_tag_is_refused_where_the_kernel_has_none(h):
    if filters_vlans(h.host):
        pytest.skip("this kernel filters VLANs")
    h.tool("put-network uid=n1 subnet=10.88.0.0/24")
    before = h.host.snapshot()
    assert "vlan 7: this host's kernel cannot filter VLANs" in \
        h.tool.error(f"put-port uid=p1 network=n1 mac={MAC_A} vlan=7")
    assert h.host.snapshot() == before


def test_tags_keep_ports_apart(h):
    if not filters_vlans(h.host):
        pytest.skip("this kernel has no CONFIG_BRIDGE_VLAN_FILTERING: NOT TESTED HERE")
    h.host.run("ip", "link", "add", "br0", "type", "bridge")
    h.host.run("ip", "link", "set", "br0", "up")
    h.tool("put-network uid=n1 host=br0")
    assert "vlan 7: bridge br0 does not filter VLANs" in \
        h.tool.error(f"put-port uid=p1 network=n1 mac={MAC_A} vlan=7")
    h.host.run("ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
    for number, (mac, vlan) in enumerate(((MAC_A, 7), (MAC_B, 7), (MAC_C, 8)), 1):
        h.tool(f"put-port uid=p{number} network=n1 mac={mac} vlan={vlan}")
    guests = [h.guest(f"p{number}", mac) for number, mac in enumerate((MAC_A, MAC_B, MAC_C), 1)]
    for number, guest in enumerate(guests, 1):
        guest.run("ip", "addr", "add", f"10.1.0.{number}/24", "dev", "eth0")
    assert guests[0].reaches("10.1.0.2") and not guests[0].pings("10.1.0.3")
