"""A guest of a user network, as far as tests need one: Ethernet frames on a socket, ARP, DHCP, ICMP,
UDP, and a TCP that knows no loss (a socket pair has none) and no options but the segment size."""

import itertools
import os
import select
import socket
import struct
import time

MAC = bytes.fromhex("020000000001")
BROADCAST = b"\xff" * 6
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP = 1, 6, 17
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SEGMENT = 1460
WINDOW = 65535
DEADLINE = 20


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(text):
    return socket.inet_aton(text)


class Guest:
    """`address` is what DHCP would give, unless told otherwise."""

    def __init__(self, link, address="10.0.2.15", gateway="10.0.2.2", mac=MAC):
        self.link, self.mac = link, mac
        self.address, self.gateway = address, gateway
        self.gateway_mac = None
        self.ids = itertools.count(1)
        self.kept = []  # received, and not asked for yet

    def send_frame(self, frame):
        self.link.send(frame)

    def receive_frame(self, wanted, deadline=DEADLINE):
        """The first frame for which `wanted` is true; ARP requests are answered meanwhile."""
        end = time.monotonic() + deadline
        for i, frame in enumerate(self.kept):
            if wanted(frame):
                return self.kept.pop(i)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.link], [], [], left)[0]:
                raise TimeoutError("no such frame")
            frame = self.link.recv(70000)
            if not frame:
                raise EOFError("gemel-slirp has ended")
            if not self.answer_arp(frame):
                if wanted(frame):
                    return frame
                self.kept.append(frame)

    def answer_arp(self, frame):
        kind, = struct.unpack_from("!H", frame, 12)
        if kind != ARP or struct.unpack_from("!H", frame, 20)[0] != 1:
            return False
        sender_mac, sender, _, target = struct.unpack_from("!6s4s6s4s", frame, 22)
        if target == ip4(self.address):
            self.send_frame(sender_mac + self.mac + struct.pack("!HHHBBH", ARP, 1, IPV4, 6, 4, 2) +
                            self.mac + target + sender_mac + sender)
        return True

    def resolve(self, address):
        """The MAC of an address, by ARP."""
        self.send_frame(BROADCAST + self.mac + struct.pack("!HHHBBH", ARP, 1, IPV4, 6, 4, 1) +
                        self.mac + ip4(self.address) + b"\0" * 6 + ip4(address))
        reply = self.receive_frame(
            lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\x02" and f[28:32] == ip4(address))
        return reply[22:28]

    def send_ip(self, protocol, to, payload, source=None):
        if self.gateway_mac is None:
            self.gateway_mac = BROADCAST if to == "255.255.255.255" else self.resolve(self.gateway)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), next(self.ids) & 0xFFFF, 0,
                             64, protocol, 0, ip4(source or self.address), ip4(to))
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        mac = BROADCAST if to == "255.255.255.255" else self.gateway_mac
        self.send_frame(mac + self.mac + struct.pack("!H", IPV4) + header + payload)

    def receive_ip(self, protocol, wanted=lambda source, payload: True, deadline=DEADLINE):
        """(source address, payload) of the first packet that is wanted."""
        def cut(frame):
            total, = struct.unpack_from("!H", frame, 16)
            return socket.inet_ntoa(frame[26:30]), frame[14 + 20:14 + total]

        frame = self.receive_frame(lambda f: f[12:14] == b"\x08\x00" and f[23] == protocol and
                                   wanted(*cut(f)), deadline)
        return cut(frame)

    def pseudo(self, protocol, source, to, length):
        return ip4(source) + ip4(to) + struct.pack("!BBH", 0, protocol, length)

    def send_udp(self, to, port, own_port, data, source=None):
        datagram = struct.pack("!HHHH", own_port, port, 8 + len(data), 0) + data
        total = checksum(self.pseudo(UDP, source or self.address, to, len(datagram)) + datagram)
        self.send_ip(UDP, to, datagram[:6] + struct.pack("!H", total or 0xFFFF) + datagram[8:], source)

    def receive_udp(self, own_port, deadline=DEADLINE):
        """(source address, source port, data)."""
        source, datagram = self.receive_ip(
            UDP, lambda _, d: struct.unpack_from("!H", d, 2)[0] == own_port, deadline)
        return source, struct.unpack_from("!H", datagram)[0], datagram[8:]

    def ping(self, to, deadline=DEADLINE):
        data = os.urandom(16)
        request = struct.pack("!BBHHH", 8, 0, 0, 77, 1) + data
        self.send_ip(ICMP, to, request[:2] + struct.pack("!H", checksum(request)) + request[4:])
        self.receive_ip(ICMP, lambda source, p: source == to and p[0] == 0 and p[8:] == data, deadline)

    def dhcp(self, kind, requested=None, deadline=DEADLINE):
        """Sends DISCOVER (1) or REQUEST (3); the answer's (type, address, options)."""
        number = os.urandom(4)
        options = bytes([53, 1, kind])
        if requested:
            options += bytes([50, 4]) + ip4(requested)
        message = (struct.pack("!BBBB", 1, 1, 6, 0) + number + b"\0" * 20 + self.mac + b"\0" * 202 +
                   b"\x63\x82\x53\x63" + options + b"\xff")
        self.send_udp("255.255.255.255", 67, 68, message, source="0.0.0.0")
        self.gateway_mac = None
        answer = b""
        while answer[4:8] != number:  # another is of a question that came to nothing
            _, _, answer = self.receive_udp(68, deadline)
        return self.parse_dhcp(answer)

    @staticmethod
    def parse_dhcp(answer):
        found, at = {}, 240
        while answer[at] != 255:
            if answer[at] == 0:
                at += 1
                continue
            found[answer[at]] = answer[at + 2:at + 2 + answer[at + 1]]
            at += 2 + answer[at + 1]
        return found[53][0], socket.inet_ntoa(answer[16:20]), found

    def connect(self, to, port, own_port):
        return Connection(self, to, port, own_port).open()

    def accept(self, own_port):
        """The next connection that comes to `own_port`."""
        source, segment = self.receive_ip(
            TCP, lambda _, s: struct.unpack_from("!H", s, 2)[0] == own_port and s[13] & SYN)
        port, = struct.unpack_from("!H", segment)
        return Connection(self, source, port, own_port).answer(segment)


class Refused(Exception):
    """The other end sent RST."""


class Connection:
    """One TCP connection of the guest's. Sequence numbers count from 0 on both sides."""

    def __init__(self, guest, to, port, own_port):
        self.guest, self.to, self.port, self.own_port = guest, to, port, own_port
        self.first, self.peer_first = struct.unpack("!I", os.urandom(4))[0], 0
        self.sent = self.acknowledged = self.received = 0
        self.window = 0
        self.data, self.closed = bytearray(), False

    def send_segment(self, flags, data=b"", options=b""):
        segment = struct.pack("!HHIIBBHHH", self.own_port, self.port,
                              (self.first + self.sent) & 0xFFFFFFFF,
                              (self.peer_first + self.received) & 0xFFFFFFFF if flags & ACK else 0,
                              (20 + len(options)) // 4 << 4, flags, WINDOW, 0, 0) + options + data
        total = checksum(self.guest.pseudo(TCP, self.guest.address, self.to, len(segment)) + segment)
        self.guest.send_ip(TCP, self.to, segment[:16] + struct.pack("!H", total) + segment[18:])
        self.sent += len(data) + bool(flags & SYN) + bool(flags & FIN)

    def receive_segment(self, deadline=DEADLINE):
        """Takes one segment in; whether it had data or an end."""
        _, segment = self.guest.receive_ip(
            TCP, lambda source, s: source == self.to and struct.unpack_from("!HH", s) == (
                self.port, self.own_port), deadline)
        _, _, sequence, acknowledged, offset, flags, window = struct.unpack_from("!HHIIBBH", segment)
        if flags & RST:
            raise Refused()
        if flags & SYN:
            self.peer_first, self.received = sequence, 1
        self.window = window
        if flags & ACK:
            self.acknowledged = (acknowledged - self.first) & 0xFFFFFFFF
        data = segment[(offset >> 4) * 4:]
        if (sequence - self.peer_first) & 0xFFFFFFFF == self.received:  # else it comes again
            self.data += data
            self.received += len(data)
            if flags & FIN:
                self.received, self.closed = self.received + 1, True
        return bool(data) or bool(flags & FIN)

    def open(self):
        self.send_segment(SYN, options=struct.pack("!BBH", 2, 4, SEGMENT))
        self.receive_segment()
        self.send_segment(ACK)
        return self

    def answer(self, segment):
        self.peer_first, self.received = struct.unpack_from("!I", segment, 4)[0], 1
        self.send_segment(SYN | ACK, options=struct.pack("!BBH", 2, 4, SEGMENT))
        while self.acknowledged < self.sent:
            self.receive_segment()
        return self

    def send(self, data):
        """Returns when all is acknowledged."""
        base, at = self.sent, 0
        while self.acknowledged - base < len(data):
            while at < len(data) and self.sent - self.acknowledged + SEGMENT <= self.window:
                self.send_segment(ACK | PSH, data[at:at + SEGMENT])
                at += SEGMENT
            if self.receive_segment():
                self.send_segment(ACK)

    def receive(self, size):
        """Exactly that many bytes, or fewer at the end."""
        unacknowledged = 0
        while len(self.data) < size and not self.closed:
            unacknowledged += self.receive_segment()
            if unacknowledged >= 2 or not self.guest.kept:
                self.send_segment(ACK)
                unacknowledged = 0
        out, self.data = bytes(self.data[:size]), self.data[size:]
        return out

    def close(self):
        self.send_segment(FIN | ACK)
