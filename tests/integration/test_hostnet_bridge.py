"""Host networks on a bridge of the host's own, and VLANs there."""

import pytest
from hostnet_rig import (  # pylint: disable=unused-import
    MAC_A, MAC_B, MAC_C, WORLD, h_mac, host_fixture, needs_host)

pytestmark = needs_host


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
        pytest.skip("this kernel has no CONFIG_BRIDGE_VLAN_FILTERING: tests/os/test_daemon.py runs this")
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
