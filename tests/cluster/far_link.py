"""A way to a server that is far: what goes through it, either way, comes later."""

import heapq
import itertools
import selectors
import socket
import threading
import time


class FarLink:
    """To ADDRESS:PORT, each way `seconds` long. One thread carries it all."""

    def __init__(self, place, seconds):
        self.place, self.seconds = place, seconds
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.poke, self.poked = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.late, self.count = [], itertools.count()
        self.ends, self.breaking, self.ended = set(), False, False
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(self.poked, selectors.EVENT_READ, lambda: self.poked.recv(64))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def cut_connections(self):
        """Those that are there; new ones are let in."""
        self.breaking = True
        self.poke.send(b"x")

    def close(self):
        self.ended = True
        self.poke.send(b"x")
        self.thread.join()
        for end in (*self.ends, self.listener, self.poke, self.poked):
            end.close()
        self.selector.close()

    # The thread's.

    def run(self):
        while not self.ended:
            left = max(0, self.late[0][0] - time.monotonic()) if self.late else None
            for key, _ in self.selector.select(left):
                if key.fileobj.fileno() >= 0:
                    key.data()
            if self.breaking:
                self.breaking = False
                for end in list(self.ends):
                    self.drop(end)
            while self.late and self.late[0][0] <= time.monotonic():
                _, _, out, data = heapq.heappop(self.late)
                self.put(out, data)

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(self.place)
        except OSError:
            near.close()
            return
        for end, other in ((near, far), (far, near)):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ends.add(end)
            self.selector.register(end, selectors.EVENT_READ,
                                   lambda end=end, other=other: self.take(end, other))

    def take(self, end, other):
        try:
            data = end.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.drop(end)
        heapq.heappush(self.late, (time.monotonic() + self.seconds, next(self.count), other, data))

    def put(self, out, data):
        if out not in self.ends:
            return
        try:
            if data:
                return out.sendall(data)
        except OSError:
            pass  # it is gone
        self.drop(out)

    def drop(self, end):
        if end in self.ends:
            self.selector.unregister(end)
            self.ends.remove(end)
            end.close()
