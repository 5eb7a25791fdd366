"""Host networks (hostnet/) on a real kernel: bridges, rules, DHCP, DNS, taps, in namespaces made here."""

import socket
import struct
import threading

from hostnet_rig import (  # pylint: disable=unused-import
    DEADLINE, MAC_A, MAC_B, MAC_C, WORLD, h_mac, host_fixture, needs_host, two_tenants, until)

pytestmark = needs_host


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
