"""A cable between an initiator and its target: it can hold what goes to the target, deliver it later
though the initiator is long gone. It counts the target's refusals."""

import selectors
import socket
import struct
import threading

SCSI_COMMAND, SCSI_RESPONSE, CONFLICT = 0x01, 0x21, 0x18
WRITES = (0x2a, 0x8a)
ATTENTIONS = 16  # more than a target has for a nexus at once


def pdus(data):
    """The whole ones that `data` begins with (RFC 7143, 11.2; no digests), and what is left."""
    found = []
    while len(data) >= 48:
        length = struct.unpack(">I", b"\0" + data[5:8])[0]
        size = 48 + 4 * data[4] + (length + 3) // 4 * 4
        if len(data) < size:
            break
        found.append(data[:size])
        data = data[size:]
    return found, data


def is_write(pdu):
    return pdu[0] & 0x3f == SCSI_COMMAND and pdu[32] in WRITES


def again(command, nth):
    """The same command as the nth that follows it."""
    copy = bytearray(command)
    for at in (16, 24):  # its tag, and its number
        struct.pack_into(">I", copy, at, struct.unpack_from(">I", copy, at)[0] + nth)
    return bytes(copy)


class Link:
    """One thread carries it all; held() and so on only set what it looks at."""

    def __init__(self, port, address="127.0.0.1"):
        self.target = port
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.poke, self.poked = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.wanted, self.holding, self.ended = False, False, False
        self.kept = []         # (connection to the target, PDU) in order
        self.statuses = []     # that the target answered since then, to whomever
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(self.poked, selectors.EVENT_READ, lambda: self.poked.recv(64))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def hold(self):
        """The next write and all that is sent after it stay here. The target does not learn that their
        sender has gone."""
        with self.lock:
            self.wanted = True

    def holds(self):
        with self.lock:
            return bool(self.kept)

    def deliver(self):
        """The command that was held, and again and again: the first find unit attentions in their way, which
        are no refusal by the reservation."""
        with self.lock:
            self.holding = False
            self.statuses = []
            self.wanted = False
            (out, command), self.kept = self.kept[0], []
            for nth in range(ATTENTIONS):
                self.send(out, again(command, nth))

    def until_conflict(self, seconds):
        with self.changed:
            return self.changed.wait_for(lambda: CONFLICT in self.statuses, seconds)

    def close(self):
        self.ended = True
        self.poke.send(b"x")
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.poke.close()

    # The thread's.

    def run(self):
        while not self.ended:
            for key, _ in self.selector.select():
                key.data()

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent, left = [b""], [b""]
        self.selector.register(near, selectors.EVENT_READ, lambda: self.forth(near, far, sent))
        self.selector.register(far, selectors.EVENT_READ, lambda: self.back(near, far, left))

    def forth(self, near, far, left):
        data = self.receive(near)
        if not data:
            self.selector.unregister(near)
        whole, left[0] = pdus(left[0] + data)
        self.note_commands(far, whole)
        with self.lock:
            for pdu in whole:
                self.holding = self.holding or (self.wanted and is_write(pdu))
                if self.holding:
                    self.kept.append((far, pdu))
                else:
                    self.send(far, pdu)
            if not data and not self.holding:
                self.send(far, b"")

    def back(self, near, far, left):
        data = self.receive(far)
        if not data:
            self.selector.unregister(far)
            far.close()
            try:
                near.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone
            return
        answers, left[0] = pdus(left[0] + data)
        self.note_answers(far, answers)
        with self.changed:
            self.statuses += [pdu[3] for pdu in answers if pdu[0] & 0x3f == SCSI_RESPONSE]
            self.changed.notify_all()
        try:
            near.sendall(data)
        except OSError:
            pass  # it is gone, and what it has sent is still under way

    # For those who want to know what goes over it: the connection to the target, and whole PDUs.

    def note_commands(self, far, commands):
        pass

    def note_answers(self, far, answers):
        pass

    @staticmethod
    def receive(end):
        try:
            return end.recv(1 << 16)
        except OSError:
            return b""

    @staticmethod
    def send(out, data):
        try:
            if data:
                out.sendall(data)
            else:
                out.shutdown(socket.SHUT_WR)
        except OSError:
            pass
