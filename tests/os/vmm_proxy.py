#!/usr/bin/python3 -B
"""Stands between gemel run and gemel-vmm ($REAL_VMM), as GEMEL_VMM, and puts requests of a test's in.

Descriptor 3 is the control socket. A test connects to the Unix socket $VMM_PROXY, and sends lines:
  balloon BYTES   what the guest is asked to give up
  info            answered by a line: the balloon's fields as "target actual reported age TAG=VALUE..."
"""
import array
import os
import selectors
import socket
import struct
import subprocess
import sys

HEADER = struct.Struct("<IBBHI")
MAGIC = 0x434C4D47
OUR_IDS = 1 << 40  # gemel run counts from 1


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    """Field number -> list of values, of one message."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 2:
            length = number()
            value, at = data[at:at + length], at + length
        else:
            value = number()
        fields.setdefault(key >> 3, []).append(value)
    return fields


def one(fields, number, default=0):
    return fields.get(number, [default])[-1]


def relay(source, target):
    """One datagram with its descriptors; its bytes, empty at the end."""
    data, ancillary, _, _ = source.recvmsg(1 << 17, socket.CMSG_SPACE(253 * 4))
    fds = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
    if data and target:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
        target.sendmsg([data], rights)
    for fd in fds:
        os.close(fd)
    return data


class Proxy:
    def __init__(self):
        self.front = socket.socket(fileno=3)
        self.back, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Descriptor 3 again, which gemel-vmm takes to be its own.
        self.front = socket.socket(fileno=os.dup(self.front.detach()))
        os.dup2(end.fileno(), 3)
        end.close()
        self.vmm = subprocess.Popen([os.environ["REAL_VMM"], *sys.argv[1:]], close_fds=False)
        os.close(3)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.environ["VMM_PROXY"])
        self.listener.listen()
        self.client = None
        self.next_id = OUR_IDS
        self.selector = selectors.DefaultSelector()
        for source in (self.front, self.back, self.listener):
            self.selector.register(source, selectors.EVENT_READ)

    def send(self, body):
        self.next_id += 1
        payload = field(1, self.next_id) + body
        self.back.send(HEADER.pack(MAGIC, 1, 0, 0, len(payload)) + payload)

    def on_back(self):
        """False once gemel-vmm is gone."""
        peek = self.back.recv(1 << 17, socket.MSG_PEEK)
        reply = one(parse(peek[HEADER.size:]), 1, b"") if peek else b""
        if reply and one(parse(reply), 1) > OUR_IDS:
            self.back.recv(1 << 17)
            self.answer(parse(reply))
            return True
        return bool(relay(self.back, self.front))

    def answer(self, reply):
        balloon = parse(one(parse(one(reply, 4, b"")), 40, b""))
        words = [one(balloon, 1), one(balloon, 2), one(balloon, 3), one(balloon, 4)]
        for statistic in balloon.get(5, []):
            entry = parse(statistic)
            words.append(f"{one(entry, 1)}={one(entry, 2)}")
        error = one(reply, 3, b"").decode()
        self.client.sendall((error or " ".join(map(str, words))).encode() + b"\n")

    def on_client(self):
        line = self.client.recv(4096)
        if not line:
            self.selector.unregister(self.client)
            self.client.close()
            return
        verb, *rest = line.decode().split()
        self.send(field(9, b"") if verb == "info" else field(50, field(1, int(rest[0]))))

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.front and not relay(self.front, self.back):
                    self.back.close()
                    return self.vmm.wait()
                if key.fileobj is self.back and not self.on_back():
                    self.front.close()
                    return self.vmm.wait()
                if key.fileobj is self.listener:
                    self.client = self.listener.accept()[0]
                    self.selector.register(self.client, selectors.EVENT_READ)
                elif key.fileobj is self.client:
                    self.on_client()


if __name__ == "__main__":
    sys.exit(Proxy().run())
