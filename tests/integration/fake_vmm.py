#!/usr/bin/python3
"""A gemel-vmm for tests: speaks the control protocol on descriptor 3 and does what $FAKE_VMM says.

FAKE_VMM is a comma-separated list of words:
  refuse=CODE:TEXT   answers Configure with that error
  print=TEXT         writes TEXT to the serial line once started
  flood=N            writes N lines of 64 bytes
  echo               sends the serial input back until "exit\\n" arrives
  off                powers off once everything is written
  then-die=SIGNAL    kills itself after it has powered off
  crash              says that it crashed, status 1
  die=SIGNAL         kills itself
  hang               answers nothing after Start
  ignore-button      the guest does nothing about its power button
  version=N          says hello with that version
Each request's name is appended to the file $FAKE_VMM_LOG.
"""
import array
import os
import select
import signal
import socket
import struct
import sys

HEADER = struct.Struct("<IBBHI")
MAGIC = 0x434C4D47
REQUESTS = {2: "Configure", 3: "Start", 4: "PowerButton", 5: "PowerOff", 6: "Pause", 7: "Resume",
            8: "Reset", 9: "GetInfo"}


def varint(value):
    out = b""
    while True:
        if value < 0x80:
            return out + bytes([value])
        out += bytes([value & 0x7F | 0x80])
        value >>= 7


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    """Field number -> value (the last), of one message."""
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
            fields[key >> 3] = data[at:at + length]
            at += length
        else:
            fields[key >> 3] = number()
    return fields


class FakeVmm:
    def __init__(self):
        self.wish = {}
        for word in filter(None, os.environ.get("FAKE_VMM", "").split(",")):
            name, _, value = word.partition("=")
            self.wish[name] = value
        self.socket = socket.socket(fileno=3)
        self.serial_in = self.serial_out = None
        self.running = False
        self.log = open(os.environ["FAKE_VMM_LOG"], "a") if "FAKE_VMM_LOG" in os.environ else None

    def send(self, payload):
        self.socket.send(HEADER.pack(MAGIC, 1, 0, 0, len(payload)) + payload)

    def reply(self, request, code=0, text=b""):
        self.send(field(1, field(1, request) + field(2, code) + field(3, text)))

    def event(self, number, body=b""):
        self.send(field(2, field(number, body)))

    def receive(self):
        data, ancillary, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
        if not data:
            sys.exit(1)
        fds = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
        return parse(data[HEADER.size:]), list(fds)

    def write(self, data):
        while data:
            data = data[os.write(self.serial_out, data):]

    def start(self):
        self.running = True
        self.event(2)
        if "print" in self.wish:
            self.write(self.wish["print"].encode().replace(b"\\n", b"\n"))
        for i in range(int(self.wish.get("flood", 0))):
            self.write(b"line %-58d\n" % i)
        if "die" in self.wish:
            os.kill(os.getpid(), getattr(signal, self.wish["die"]))
        if "crash" in self.wish:
            self.event(6, field(1, b"triple fault") + field(2, b"rip 0000\nrsp 0001"))
            sys.exit(1)
        if "off" in self.wish:
            self.off()

    def off(self):
        self.event(3)
        if "then-die" in self.wish:
            os.kill(os.getpid(), getattr(signal, self.wish["then-die"]))
        sys.exit(0)

    def handle(self, fields, fds):
        request = fields.get(1, 0)
        kind = next((REQUESTS[n] for n in REQUESTS if n in fields), "?")
        if self.log:
            print(kind, file=self.log, flush=True)
        if kind == "Configure":
            configure = parse(fields[2])
            self.serial_in = fds[configure[6] - 1] if 6 in configure else None
            self.serial_out = fds[configure[7] - 1] if 7 in configure else None
            if "refuse" in self.wish:
                code, _, text = self.wish["refuse"].partition(":")
                return self.reply(request, int(code), text.encode())
        if self.running and "hang" in self.wish:
            return None
        self.reply(request)
        if kind == "Start":
            self.start()
        if kind == "PowerOff" or kind == "PowerButton" and "ignore-button" not in self.wish:
            self.off()
        return None

    def serial(self):
        data = os.read(self.serial_in, 4096)
        if not data:
            self.serial_in = None
        self.write(data)
        if b"exit" in data:
            self.off()

    def run(self):
        self.event(1, field(1, int(self.wish.get("version", 1))))
        while True:
            fds = [self.socket.fileno()]
            if self.running and "echo" in self.wish and self.serial_in is not None:
                fds.append(self.serial_in)
            for fd in select.select(fds, [], [])[0]:
                if fd == self.socket.fileno():
                    self.handle(*self.receive())
                else:
                    self.serial()


if __name__ == "__main__":
    FakeVmm().run()
