"""The tool's end of the wire to a host's agent: starts jobs and hands them their frames."""

import contextlib
import itertools
import queue
import signal
import threading
import time

from guest import wire


class HostDied(Exception):
    """The host ended (power cut, panic, QEMU's failure) while something was asked of it."""


class Channel:
    """Owns the socket. One thread reads it; any thread may start jobs and wait for them."""

    def __init__(self, sock):
        self._socket = sock
        self._jobs = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # guards _jobs and _closed
        # Another one for whole frames: sending may block until the agent reads, and it may not read
        # before its own output has been taken, which needs _lock.
        self._send_lock = threading.Lock()
        self._closed = False
        self._ready = threading.Event()
        threading.Thread(target=self._read, name="kvmhost-channel", daemon=True).start()

    def wait_ready(self, timeout):
        """Waits for the agent; HostDied when the host ended first, TimeoutError when neither."""
        if not self._ready.wait(timeout):
            raise TimeoutError(f"the host was not up within {timeout} s")
        if self._closed:
            raise HostDied("the host ended while starting")

    def start(self, argv, cwd, env):
        with self._lock:
            if self._closed:
                raise HostDied("the host is not running")
            job = Job(self, next(self._numbers))
            self._jobs[job.number] = job
        self._send(wire.pack_run(job.number, cwd, argv, env))
        return job

    def signal(self, job, number):
        """Sends a signal to the command and its children; nothing when it has ended."""
        with contextlib.suppress(HostDied):
            self._send(wire.pack(wire.SIGNAL, job.number, b"%d" % number))

    def _send(self, frame):
        try:
            with self._send_lock:
                self._socket.sendall(frame)
        except OSError as error:
            raise HostDied("the host has ended") from error

    def _read(self):
        decoder = wire.Decoder()
        try:
            while data := self._socket.recv(1 << 20):
                for frame in decoder.feed(data):
                    self._dispatch(*frame)
        except OSError:
            pass  # reset: the same as the end
        with self._lock:
            self._closed = True
            ended, self._jobs = self._jobs, {}
        self._ready.set()
        for job in ended.values():
            job.frames.put((None, b""))
        self._socket.close()

    def _dispatch(self, kind, number, payload):
        if kind == wire.READY:
            self._ready.set()
            return
        with self._lock:
            job = self._jobs.get(number)
            if kind == wire.EXIT:
                self._jobs.pop(number, None)
        if job:
            job.frames.put((kind, payload))


class Job:
    """A command that runs in a host. Its output waits in memory until wait() is called."""

    def __init__(self, channel, number):
        self.number = number
        self.frames = queue.SimpleQueue()
        self._channel = channel

    def wait(self, on_output, timeout=None):
        """Calls on_output(kind, data), kind wire.OUT or wire.ERR, until the command ends.

        Its status; HostDied when the host ended, TimeoutError (the command goes on) at the timeout.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            try:
                kind, payload = self.frames.get(timeout=left)
            except queue.Empty:
                raise TimeoutError(f"the command ran for more than {timeout:.1f} s") from None
            if kind is None:
                raise HostDied("the host ended under the command")
            if kind == wire.EXIT:
                return int(payload)
            on_output(kind, payload)

    def signal(self, number=signal.SIGTERM):
        self._channel.signal(self, number)
