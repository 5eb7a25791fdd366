"""Host networks through ends of the daemon, of its servers and of what others break; the host afterwards."""

import os
import socket
import time

from hostnet_rig import (  # pylint: disable=unused-import
    DEADLINE, MAC_A, MAC_C, NETWORK, PORT, WORLD, host_fixture, needs_host, two_tenants, until)

pytestmark = needs_host


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
