"""A host, a world and guests in network namespaces, for test_hostnet*.py."""

import ctypes
import fcntl
import os
import pathlib
import select
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454ca
IFF_TAP_PLAIN = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR: as the ports have it
MAX_FDS = 16


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Namespace:
    def __init__(self, name):
        self.name = f"hn{os.getpid()}-{name}"
        ip("netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *words, check=True, timeout=60):
        done = subprocess.run(["ip", "netns", "exec", self.name, *words], check=False,
                              capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout if check else done

    def inside(self, function):
        """What the function gives, called by a thread that is in the namespace."""
        outcome = []

        def call():
            with open(f"/run/netns/{self.name}", "rb") as file:
                assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0
            try:
                outcome.append((function(), None))
            except Exception as error:  # It is the caller's.
                outcome.append((None, error))
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        value, error = outcome[0]
        if error:
            raise error
        return value

    def snapshot(self):
        """Links, addresses, routes, rules and settings, one by one, once they are at rest."""
        now, before = self._snapshot(), None
        while now != before:
            time.sleep(0.1)  # a carrier or an address becomes valid by itself
            now, before = self._snapshot(), now
        return now

    def _snapshot(self):
        found = {}
        for what in ("link", "addr", "route show table all", "rule", "neigh show nud permanent"):
            for number, line in enumerate(self.run("ip", "-o", *what.split()).splitlines()):
                found[f"ip {what} {number}"] = line
        for number, line in enumerate(self.run("nft", "-s", "list", "ruleset").splitlines()):
            found[f"nft {number}"] = line
        volatile = ("nf_conntrack_count", "random", "secret", "tcp_fastopen_key")
        text = self.run("sh", "-c", "grep -r . /proc/sys/net 2>/dev/null || true")
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if not any(word in name for word in volatile):
                found.setdefault(name, []).append(value)
        return found

    def close(self):
        ip("netns", "del", self.name)


class Tool:
    """A daemon's host networks, in a process of its own."""

    def __init__(self, program, namespace, folder, prefix):
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", namespace.name, program, prefix, f"{folder}/state",
                 f"{folder}/run", str(other.fileno())], pass_fds=[other.fileno()])
        self.socket.settimeout(60)

    def ask(self, command):
        """The rest of "ok …" and the descriptors."""
        self.socket.send(command.encode())
        text, fds, _, _ = socket.recv_fds(self.socket, 4096, MAX_FDS)
        text = text.decode()
        assert text.startswith("ok"), f"{command}: {text}"
        return text[3:], fds

    def __call__(self, command):
        return self.ask(command)[0]

    def error(self, command):
        self.socket.send(command.encode())
        text = self.socket.recv(4096).decode()
        assert text.startswith("error"), f"{command}: {text}"
        return text

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()


class Guest:
    """A namespace behind a port: frames go between the port's tap and one called eth0 here."""

    def __init__(self, name, port_fd, mac):
        self.namespace = Namespace(name)
        self.run = self.namespace.run
        self.port_fd = port_fd
        self.fd = self.namespace.inside(lambda: make_tap("eth0"))
        self.run("ip", "link", "set", "eth0", "address", mac, "up")
        self.end = os.eventfd(0)
        self.relay = threading.Thread(target=self._relay)
        self.relay.start()

    def _relay(self):
        # With /proc's and the fds' own queues: a full one loses frames, as a cable does.
        while True:
            ready, _, _ = select.select([self.fd, self.port_fd, self.end], [], [])
            if self.end in ready:
                return
            for here, there in ((self.fd, self.port_fd), (self.port_fd, self.fd)):
                if here in ready:
                    try:
                        os.write(there, os.read(here, 1 << 17))
                    except (BlockingIOError, OSError):
                        continue

    def send_frame(self, frame):
        """As the guest's card would, whatever is in it."""
        os.write(self.port_fd, bytes(10) + frame)

    def dhcp(self, tries=3):
        """The lease as udhcpc's script sees it, or None."""
        script = pathlib.Path(f"/tmp/{self.namespace.name}.sh")
        script.write_text('#!/bin/sh\n[ "$1" = bound ] || exit 0\nip addr flush dev eth0\n'
                          'ip addr add $ip/$mask dev eth0\n'
                          '[ -z "$router" ] || ip route add default via $router\n'
                          'echo "ip=$ip mask=$mask router=$router dns=$dns domain=$domain '
                          'mtu=$mtu hostname=$hostname"\n', encoding="utf-8")
        script.chmod(0o755)
        try:
            done = self.run("busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", str(tries),
                            "-T", "1", "-O", "mtu", "-O", "hostname", "-s", str(script),
                            check=False)
        finally:
            script.unlink()
        if done.returncode != 0:
            return None
        line = [line for line in done.stdout.splitlines() if line.startswith("ip=")][0]
        return dict(word.split("=", 1) for word in line.split())

    def pings(self, address, source=None):
        words = ["busybox", "ping", "-c", "1", "-W", "1", *(["-I", source] if source else [])]
        return self.run(*words, address, check=False).returncode == 0

    def reaches(self, address, source=None):
        """Whether a ping comes back, sooner or later: one that was not answered may hold up others."""
        return any(self.pings(address, source) for _ in range(10))

    def close(self):
        os.eventfd_write(self.end, 1)
        self.relay.join()
        for fd in (self.fd, self.port_fd, self.end):
            os.close(fd)
        self.namespace.close()


def make_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_PLAIN))
    return fd
