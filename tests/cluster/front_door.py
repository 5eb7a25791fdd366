"""The door to a disk that several nodes share: one file of FUSE's for each of them, one log of all writes
in the order in which they were accepted. Locks of one node do not reach another, as on a network.

A door can be slow, or hold what comes until it is opened again. A disk that refuses takes writes of those
alone whom its reservation allows, as disks should; one that does not shows what came too late."""

import ctypes
import dataclasses
import errno
import os
import select
import stat
import struct
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
MS_NOSUID, MS_NODEV = 2, 4
# linux/fuse.h
GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, FORGET, BATCH_FORGET = (
    3, 4, 14, 15, 16, 17, 18, 20, 25, 26, 36, 2, 42)
IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
DIRECT_IO = 1
MOST = 1 << 17
SECTOR = 512


@dataclasses.dataclass
class Write:
    """One sector. `holder`: whose the disk was then: (node, epoch), (0, 0) for nobody's."""
    at: float
    node: int
    number: int
    holder: tuple


class FrontDoor:
    def __init__(self, path, holder, takes_from=lambda node: True):
        self.holder = holder  # (node, epoch) of who has reserved it
        self.takes_from = takes_from  # whether a write of that node is accepted now
        self.refused = 0
        self.disk = os.open(path, os.O_RDWR)
        self.size = os.fstat(self.disk).st_size
        self.log = []
        self.doors = {}  # descriptor -> node
        self.closed, self.delay = set(), {}
        self.held = []
        self.wake, self.woken = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def open(self, node, place):
        """The disk is the file `place` for that node from here on."""
        place.touch()
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        options = f"fd={fuse},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0,allow_other"
        if LIBC.mount(b"nemesis", bytes(place), b"fuse", MS_NOSUID | MS_NODEV, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount of FUSE")
        self.doors[fuse] = node

    def start(self):
        self.thread.start()

    def hold(self, node):
        self.closed.add(node)

    def let_go(self, node):
        self.closed.discard(node)
        os.write(self.woken, b"x")

    def slow(self, node, seconds):
        self.delay[node] = seconds

    def heal(self):
        self.delay = {}
        for node in list(self.closed):
            self.let_go(node)

    def serve(self):
        poll = select.poll()
        for fd in (*self.doors, self.wake):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll(20 if self.delay or self.held else None):
                if fd == self.wake:
                    os.read(fd, 1)
                    continue
                try:
                    request = os.read(fd, MOST + 4096)
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        poll.unregister(fd)
                    continue
                self.held.append((time.monotonic(), fd, request))
            now = time.monotonic()
            waiting, self.held = self.held, []
            for came, fd, request in waiting:
                node = self.doors[fd]
                data = IN_HEADER.unpack_from(request)[1] in (READ, WRITE, FSYNC)
                if data and (node in self.closed or now - came < self.delay.get(node, 0)):
                    self.held.append((came, fd, request))
                else:
                    self.answer(fd, request)

    def answer(self, fd, request):
        _, what, unique, *_ = IN_HEADER.unpack_from(request)
        if what in (FORGET, BATCH_FORGET, INTERRUPT):
            return
        try:
            error, body = 0, self.do(what, self.doors[fd], request[IN_HEADER.size:])
        except OSError as failed:
            error, body = -failed.errno, b""
        try:
            os.write(fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), error, unique) + body)
        except OSError:
            pass  # who asked is gone

    def do(self, what, node, body):
        if what == INIT:
            major, minor = struct.unpack_from("<II", body)
            return struct.pack("<IIIIHHIIHHI28x", major, min(minor, 31), 65536, 0, 16, 12, MOST, 1, 32, 0, 0)
        if what in (GETATTR, SETATTR):
            # attr_valid, its ns, pad; ino, size, blocks, times, mode, nlink, uid, gid, rdev, blksize
            return struct.pack("<QII" "QQQQQQIIIIIIIIII", 0, 0, 0, 1, self.size, self.size // 512, 0, 0, 0,
                               0, 0, 0, stat.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0)
        if what == OPEN:
            return struct.pack("<QII", 1, DIRECT_IO, 0)
        if what == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self.disk, size, offset)
        if what == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.write(node, offset, body[40:40 + size])
        if what == STATFS:
            return struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, 512, 255, 512, 0)
        if what in (RELEASE, FSYNC, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "not asked of a disk")

    def write(self, node, offset, data):
        holder = self.holder()
        if not self.takes_from(node):
            self.refused += 1
            raise OSError(errno.EIO, "reserved by another")
        os.pwrite(self.disk, data, offset)
        now = time.monotonic()
        for at in range(0, len(data), SECTOR):
            self.log.append(Write(now, node, struct.unpack_from("<Q", data, at)[0], holder))
        return struct.pack("<II", len(data), 0)

    def accepted(self):
        return {(one.number, one.node) for one in self.log}

    def wrong(self):
        """What must never be in the log: a list of sentences."""
        found = []
        before = Write(0, 0, 0, (0, 0))
        for one in self.log:
            again = (one.number, one.node) == (before.number, before.node)  # sent anew after a pause
            if one.number != before.number + 1 and not again:
                found.append(f"node {one.node} wrote {one.number} after node {before.node} wrote "
                             f"{before.number}")
            if one.holder[0] != one.node:
                found.append(f"node {one.node} wrote {one.number} while the disk was held by {one.holder}")
            before = one
        return found[:10]
