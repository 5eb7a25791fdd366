"""A machine whose guest is a wire (tests/guests/wire.cc): what a test sends, its card sends, and what
the card gets, the test reads. user_guest.Guest speaks ARP, DHCP, UDP and TCP over it."""

import pathlib
import queue
import select
import socket
import sys
import threading

import grpc
from gemeld import ROOT, v1

sys.path.append(str(pathlib.Path(ROOT) / "tests/integration"))
import user_guest  # noqa: E402  pylint: disable=wrong-import-position


class Wire:
    """The card of a machine that runs guest-wire, as a socket: a frame a message. It holds the console
    across restarts of the daemon: reconnect()."""

    def __init__(self, daemon, name):
        self.daemon, self.name = daemon, name
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.mac, self.offset, self.line = None, 0, b""
        self.ready = threading.Event()
        self.connect()
        assert self.ready.wait(60), daemon.log()

    def connect(self):
        messages = v1("consoles")
        self.requests = queue.Queue()
        self.end = threading.Event()
        self.requests.put(messages.AttachConsoleRequest(open=messages.OpenConsole(
            name=self.name, offset=self.offset, write=True, take_over=True, follow=True)))
        self.stream = self.daemon.consoles.Attach(iter(self.requests.get, None))
        self.threads = [threading.Thread(target=self.read), threading.Thread(target=self.write)]
        for thread in self.threads:
            thread.start()

    def read(self):
        try:
            for message in self.stream:
                self.offset += len(message.output.data)
                *lines, self.line = (self.line + message.output.data).split(b"\n")
                for line in lines:
                    self.take(line.strip().decode())
        except grpc.RpcError:
            return

    def take(self, line):
        if line.startswith("mac"):
            self.mac = bytes.fromhex(line[3:])
            self.ready.set()
        elif line:
            self.theirs.send(bytes.fromhex(line))

    def write(self):
        messages = v1("consoles")
        while not self.end.is_set():
            if select.select([self.theirs], [], [], 0.1)[0]:
                frame = self.theirs.recv(4096)
                self.requests.put(messages.AttachConsoleRequest(input=frame.hex().encode() + b"\n"))

    def disconnect(self):
        self.end.set()
        self.requests.put(None)
        self.stream.cancel()
        for thread in self.threads:
            thread.join()

    def reconnect(self):
        self.disconnect()
        self.connect()

    def close(self):
        self.disconnect()
        self.ours.close()
        self.theirs.close()


def guest_of(wire, address, gateway):
    """What the card's owner says. `gateway` is whom its packets go to."""
    return user_guest.Guest(wire.ours, address, gateway, wire.mac)
