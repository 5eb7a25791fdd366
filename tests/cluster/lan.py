"""Network namespaces on one switch of ours: each way between two of them can be cut, made lossy or late.

A frame from one tap to another is a frame that Python reads and writes, so it needs no bridge and no netem,
which not every kernel has. Everything belongs to this process's own network namespace or to children that
end with it: nothing is left, however it ends."""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI = 2, 0x1000
FRAME = 2048
BATCH = 64


def enter_network(fd):
    """Of the calling thread alone."""
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def make_tap(place):
    """eth0 in the namespace that `place` (a path) is; its descriptor."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(place, os.O_RDONLY)
    try:
        enter_network(there)
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI))
    finally:
        enter_network(home)
        os.close(there)
        os.close(home)
    return tap


class Lan:
    """`names` get 10.0.0.1, .2 and so on; "x" is this process's own namespace, 10.0.0.100, whose ways are
    never harmed."""

    def __init__(self, names):
        self.names = [*names, "x"]
        self.random = random.Random(0)
        self.holders, self.taps = {}, {}
        self.broken, self.loss, self.delay = set(), {}, {}
        self.late, self.count = [], 0
        for name in names:
            holder = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            assert holder.stdout.readline() == b"ready\n"
            self.holders[name] = holder
            self.taps[name] = make_tap(f"/proc/{holder.pid}/ns/net")
        self.taps["x"] = make_tap("/proc/thread-self/ns/net")
        for name in self.names:
            mac = f"02:00:00:00:00:{self.number(name):02x}"
            script = (f"ip link set lo up && ip link set eth0 address {mac} && "
                      f"ip addr add {self.address(name)}/24 dev eth0 && ip link set eth0 up")
            subprocess.run([*self.inside(name), "sh", "-c", script], check=True)
        self.wake, self.woken = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def number(self, name):
        return 100 if name == "x" else self.names.index(name) + 1

    def address(self, name):
        return f"10.0.0.{self.number(name)}"

    def inside(self, name):
        """The words before a command that is to run there."""
        return [] if name == "x" else ["nsenter", "--net", "-t", str(self.holders[name].pid), "--"]

    # What can be done to it. `one` and `other` are names; "*" is everybody but x.

    def ways(self, one, other, both):
        everybody = self.names[:-1]
        ones = everybody if one == "*" else [one]
        others = everybody if other == "*" else [other]
        found = {(a, b) for a in ones for b in others if a != b}
        return found | {(b, a) for a, b in found} if both else found

    def cut(self, one, other="*", both=True):
        self.broken |= self.ways(one, other, both)

    def join(self, one="*", other="*", both=True):
        self.broken -= self.ways(one, other, both)

    def lose(self, part, one, other="*", both=True):
        """That part (0 to 1) of the frames."""
        self.loss.update(dict.fromkeys(self.ways(one, other, both), part))

    def slow(self, seconds, one, other="*", both=True):
        self.delay.update(dict.fromkeys(self.ways(one, other, both), seconds))

    def heal(self):
        self.broken, self.loss, self.delay = set(), {}, {}

    # The switch.

    def serve(self):
        poll = select.poll()
        names = {tap: name for name, tap in self.taps.items()}
        for fd in (*names, self.wake):
            poll.register(fd, select.POLLIN)
        while True:
            left = None
            if self.late:
                left = max(0, self.late[0][0] - time.monotonic()) * 1000
            for fd, _ in poll.poll(left):
                if fd == self.wake:
                    return
                self.take(names[fd], fd)
            now = time.monotonic()
            while self.late and self.late[0][0] <= now:
                _, _, tap, frame = heapq.heappop(self.late)
                self.put(tap, frame)

    def take(self, name, tap):
        for _ in range(BATCH):
            try:
                frame = os.read(tap, FRAME)
            except OSError:
                return
            to = frame[:6]
            if to[:5] == b"\2\0\0\0\0":
                place = 0 if to[5] == 0 else to[5] - 1
                others = ["x"] if to[5] == 100 else self.names[place:place + 1]
            else:
                others = self.names
            for other in others:
                if other != name:
                    self.send(name, other, frame)

    def send(self, name, other, frame):
        way = (name, other)
        if way in self.broken or self.random.random() < self.loss.get(way, 0):
            return
        seconds = self.delay.get(way, 0)
        if seconds == 0:
            return self.put(self.taps[other], frame)
        self.count += 1  # frames of one way stay in their order
        heapq.heappush(self.late, (time.monotonic() + seconds, self.count, self.taps[other], frame))

    @staticmethod
    def put(tap, frame):
        try:
            os.write(tap, frame)
        except OSError:
            pass  # its queue is full, or it is down: the network has lost a frame

    def close(self):
        os.write(self.woken, b"x")
        self.thread.join()
        for holder in self.holders.values():
            holder.kill()
            holder.wait()
        for fd in (*self.taps.values(), self.wake, self.woken):
            os.close(fd)
