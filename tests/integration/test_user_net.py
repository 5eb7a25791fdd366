"""gemel-slirp from both sides: a guest's frames at one end, sockets of this host at the other."""

import errno
import hashlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading

import pytest
import user_guest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
SLIRP = BUILD / "helpers/slirp/gemel-slirp"
DEADLINE = 20
MEGABYTES = 10

pytestmark = pytest.mark.skipif(not SLIRP.exists(), reason=f"{SLIRP} is not built")


class Network:
    """A gemel-slirp and the guest's end of its socket."""

    def __init__(self, words="user", expect="ready\n", **options):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [SLIRP, "--frames-fd", str(theirs.fileno()), "--name", "vm", "--net", words],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, **options)
        self.link = ours
        self.guest = user_guest.Guest(ours)
        self.report = self.process.stdout.read().decode()
        if expect is not None:
            assert self.report == expect, (self.report, self.process.stderr.read())

    def end(self):
        """The status with which it ends when the VM does, and what it logged."""
        self.link.close()
        _, log = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, log.decode()

    def status(self, key):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return re.search(rf"^{key}:[ \t]*(.*?)[ \t]*$", text, re.M).group(1)


@pytest.fixture(name="network")
def networks():
    made = []

    def make(*arguments, **options):
        made.append(Network(*arguments, **options))
        return made[-1]

    yield make
    for network in made:
        network.link.close()
        network.process.kill()
        network.process.communicate()


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listener(address="127.0.0.1"):
    server = socket.create_server((address, 0))
    server.settimeout(DEADLINE)
    return server


# ---- what the guest finds -----------------------------------------------------------------------

def test_gateway_answers_arp_and_ping(network):
    guest = network().guest
    assert guest.resolve("10.0.2.2")[:2] == b"\x52\x55"
    guest.ping("10.0.2.2")


def test_dhcp_gives_address_router_and_name_server(network):
    guest = network().guest
    kind, address, options = guest.dhcp(1)
    assert (kind, address) == (2, "10.0.2.15")
    kind, address, options = guest.dhcp(3, address)
    assert (kind, address) == (5, "10.0.2.15")
    assert options[1] == socket.inet_aton("255.255.255.0")
    assert options[3] == socket.inet_aton("10.0.2.2")
    assert options[6] == socket.inet_aton("10.0.2.3")


def test_other_network_has_other_addresses(network):
    guest = network("user,net=192.168.64.0/28").guest
    guest.address, guest.gateway = "192.168.64.4", "192.168.64.2"
    assert guest.dhcp(1)[1] == "192.168.64.4"
    guest.ping("192.168.64.2")


def test_router_of_ipv6_is_advertised(network):
    guest = network().guest
    solicitation = struct.pack("!BBHI", 133, 0, 0, 0)
    source, to = b"\0" * 16, socket.inet_pton(socket.AF_INET6, "ff02::2")
    pseudo = source + to + struct.pack("!II", len(solicitation), 58)
    total = user_guest.checksum(pseudo + solicitation)
    packet = (struct.pack("!IHBB", 6 << 28, len(solicitation), 58, 255) + source + to +
              solicitation[:2] + struct.pack("!H", total) + solicitation[4:])
    guest.send_frame(bytes.fromhex("333300000002") + user_guest.MAC + b"\x86\xdd" + packet)
    advertised = guest.receive_frame(lambda f: f[12:14] == b"\x86\xdd" and f[54] == 134)
    assert socket.inet_pton(socket.AF_INET6, "fec0::") in advertised


# ---- TCP and UDP from the guest -----------------------------------------------------------------

def test_host_is_reached_at_the_gateway(network):
    guest = network().guest
    with listener() as server:
        connection = guest.connect("10.0.2.2", server.getsockname()[1], 40000)
        ours, _ = server.accept()
        with ours:
            connection.send(b"from the guest")
            assert ours.recv(100) == b"from the guest"
            ours.sendall(b"from the host")
            assert connection.receive(13) == b"from the host"
            connection.close()
            assert ours.recv(100) == b""


def test_refused_connection_is_reset(network):
    guest = network().guest
    with pytest.raises(user_guest.Refused):
        guest.connect("10.0.2.2", free_port(), 40000)


def test_udp_goes_both_ways(network):
    guest = network().guest
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(DEADLINE)
        server.bind(("127.0.0.1", 0))
        guest.send_udp("10.0.2.2", server.getsockname()[1], 5000, b"question")
        data, peer = server.recvfrom(100)
        assert data == b"question"
        server.sendto(b"answer", peer)
        assert guest.receive_udp(5000)[2] == b"answer"


def test_megabytes_from_the_guest_arrive_whole(network):
    guest, data = network().guest, os.urandom(MEGABYTES << 20)
    with listener() as server:
        connection = guest.connect("10.0.2.2", server.getsockname()[1], 40000)
        ours, _ = server.accept()
        received = hashlib.sha256()

        def read():
            while chunk := ours.recv(1 << 16):
                received.update(chunk)

        reader = threading.Thread(target=read)
        reader.start()
        connection.send(data)
        connection.close()
        reader.join(DEADLINE)
        ours.close()
    assert received.digest() == hashlib.sha256(data).digest()


def test_megabytes_to_the_guest_arrive_whole(network):
    guest, data = network().guest, os.urandom(MEGABYTES << 20)
    with listener() as server:
        connection = guest.connect("10.0.2.2", server.getsockname()[1], 40000)
        ours, _ = server.accept()
        writer = threading.Thread(target=lambda: (ours.sendall(data), ours.close()))
        writer.start()
        received = connection.receive(len(data))
        writer.join(DEADLINE)
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


# ---- forwards -----------------------------------------------------------------------------------

def test_forwarded_tcp_port_reaches_the_guest(network):
    port = free_port()
    guest = network(f"user,hostfwd=tcp:127.0.0.1:{port}-:22").guest
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as ours:
        connection = guest.accept(22)
        ours.sendall(b"to the guest")
        assert connection.receive(12) == b"to the guest"
        connection.send(b"and back")
        assert ours.recv(100) == b"and back"


def test_several_forwards_of_both_kinds(network):
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    guest = network(f"user,hostfwd=tcp:127.0.0.1:{tcp}-10.0.2.15:80,"
                    f"hostfwd=udp:127.0.0.1:{udp}-:53").guest
    with socket.create_connection(("127.0.0.1", tcp), DEADLINE):
        guest.accept(80)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.settimeout(DEADLINE)
        ours.sendto(b"ask", ("127.0.0.1", udp))
        source, port, data = guest.receive_udp(53)
        assert data == b"ask"
        guest.send_udp(source, port, 53, b"tell")
        assert ours.recv(100) == b"tell"


def test_port_in_use_is_named(network):
    with listener() as taken:
        port = taken.getsockname()[1]
        refused = network(f"user,hostfwd=tcp:127.0.0.1:{port}-:22", expect=None)
    assert refused.report == f"net: hostfwd: tcp:127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}"
    assert refused.process.wait(DEADLINE) == 1


def test_restricted_guest_reaches_nothing_but_what_is_let_in(network):
    port = free_port()
    guest = network(f"user,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22").guest
    guest.ping("10.0.2.2")
    with listener() as server:
        refused = user_guest.Connection(guest, "10.0.2.2", server.getsockname()[1], 40000)
        refused.send_segment(user_guest.SYN)
        guest.ping("10.0.2.2")  # frames are served in order
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as ours:
        connection = guest.accept(22)
        connection.send(b"hello")
        assert ours.recv(100) == b"hello"


# ---- a name server ------------------------------------------------------------------------------

def test_questions_go_to_the_hosts_name_server(network, tmp_path):
    # Its own mount namespace has an /etc/resolv.conf that names this host.
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n", encoding="ascii")
    if os.geteuid() != 0:
        pytest.skip("needs root for a mount namespace")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(DEADLINE)
        try:
            server.bind(("127.0.0.1", 53))
        except OSError as error:
            pytest.skip(f"port 53: {error}")
        wrapper = tmp_path / "wrapper"
        wrapper.write_text(f"#!/bin/sh -e\nmount --make-rprivate /\n"
                           f"mount --bind {resolver} /etc/resolv.conf\nexec {SLIRP} \"$@\"\n",
                           encoding="ascii")
        wrapper.chmod(0o755)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            process = subprocess.Popen(
                ["unshare", "-m", wrapper, "--frames-fd", str(theirs.fileno()), "--net", "user"],
                pass_fds=[theirs.fileno()], stdout=subprocess.PIPE)
            theirs.close()
            assert process.stdout.read() == b"ready\n"
            guest = user_guest.Guest(ours)
            guest.send_udp("10.0.2.3", 53, 5000, b"a question")
            data, peer = server.recvfrom(100)
            assert data == b"a question"
            server.sendto(b"an answer", peer)
            assert guest.receive_udp(5000) == ("10.0.2.3", 53, b"an answer")
        assert process.wait(DEADLINE) == 0
        process.stdout.close()


# ---- a process that can do nothing else ---------------------------------------------------------

def test_it_ends_with_its_vm(network):
    one = network()
    assert one.end() == (0, "")


def test_it_has_no_rights(network):
    one = network()
    assert one.status("NoNewPrivs") == "1"
    assert one.status("Seccomp") == "2"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(one.status(kind), 16) == 0
    if os.geteuid() == 0:
        assert one.status("Uid").split() == ["65534"] * 4
        assert one.status("Gid").split() == ["65534"] * 4
        assert one.status("Groups") == ""


def test_it_has_limits(network):
    one = network()
    limits = pathlib.Path(f"/proc/{one.process.pid}/limits").read_text(encoding="ascii")
    for what, most in (("open files", 1024), ("processes", 0), ("core file size", 0),
                       ("data size", 384 << 20)):
        assert re.search(rf"^Max {what} +{most} +{most} ", limits, re.M), limits


def test_it_sits_in_a_folder_that_is_gone(network):
    if os.geteuid() != 0:
        pytest.skip("only root may look")
    one = network()
    assert os.readlink(f"/proc/{one.process.pid}/cwd").endswith("(deleted)")
    assert os.readlink(f"/proc/{one.process.pid}/root").endswith("(deleted)")


def test_wrong_words_are_refused(network):
    one = network("user,hostfwd=sctp:1-:2", expect=None)
    assert one.report.startswith("net: hostfwd: ")
    assert one.process.wait(DEADLINE) == 2


# ---- hostile frames -----------------------------------------------------------------------------

def test_frames_of_any_content_do_it_no_harm(network):
    one = network()
    for size in (1, 13, 14, 15, 20, 33, 34, 60, 1514, 9000, 65535, 65553):
        for kind in (b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x88\xf8", b"\x81\x00"):
            frame = user_guest.BROADCAST + user_guest.MAC + kind + os.urandom(max(size - 14, 0))
            one.guest.send_frame(frame[:size])
    one.guest.kept.clear()
    one.guest.ping("10.0.2.2")
    assert one.process.poll() is None


def test_message_larger_than_a_frame_is_dropped(network):
    one = network()
    one.guest.send_frame(b"\xff" * 65554)
    one.guest.ping("10.0.2.2")
    status, log = one.end()
    assert status == 0
    assert "larger than a frame" in log


def test_more_connections_than_descriptors_are_refused(network):
    one = network()
    with listener() as server:
        port = server.getsockname()[1]
        server.listen(4096)
        for own_port in range(20000, 21500):
            user_guest.Connection(one.guest, "10.0.2.2", port, own_port).send_segment(user_guest.SYN)
        one.guest.kept.clear()
        one.guest.ping("10.0.2.2")
    assert one.process.poll() is None


def test_guest_that_reads_nothing_gets_no_more_than_fits(network):
    one = network()
    one.guest.resolve("10.0.2.2")
    for number in range(20000):
        try:
            one.link.setblocking(False)
            request = struct.pack("!BBHHH", 8, 0, 0, 1, number) + b"x" * 1000
            one.guest.send_ip(user_guest.ICMP, "10.0.2.2", request[:2] + struct.pack(
                "!H", user_guest.checksum(request)) + request[4:])
        except BlockingIOError:
            pass
    one.link.setblocking(True)
    peak = int(one.status("VmHWM").split()[0])
    assert peak < 64 << 10, f"{peak} KiB"
