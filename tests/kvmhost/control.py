"""A lab's control socket: how tests/kvmhost/ctl, and so a shell, reaches a lab of another process.

A request is one line of JSON, sent with the client's standard output and error; the answer is one
line of JSON: status, and a text that explains it. Commands write to the client's own descriptors.
"""

import contextlib
import json
import os
import socket
import subprocess
import threading

import images
from channel import HostDied
from guest import wire

SOCKET_NAME = "ctl"
FAILED = 125

# Verbs on one host: name -> (what `ctl --help` says, what is done with the host and the words).
HOST_VERBS = {
    "power-cut": ("its packets vanish, then the machine", lambda host: host.power_cut()),
    "power-on": ("boots it and waits until it runs commands", lambda host: host.power_on()),
    "power-off": ("orderly", lambda host: host.power_off()),
    "pull-cable": ("its packets vanish, it sees no carrier", lambda host: host.pull_cable()),
    "plug-cable": ("undoes pull-cable", lambda host: host.plug_cable()),
    "freeze": ("[stopped|paused]: SIGSTOP (the default) or by QMP",
               lambda host, kind="stopped": host.freeze(kind)),
    "thaw": ("undoes freeze", lambda host: host.thaw()),
    "clock-rate": ("90 to 110: how many percent as fast its clocks run",
                   lambda host, percent: host.set_clock_rate(int(percent))),
    "step-clock": ("SECONDS: its CLOCK_REALTIME", lambda host, seconds: host.step_clock(int(seconds))),
    "freeze-disk": ("its /disk takes no writes", lambda host: host.freeze_disk()),
    "thaw-disk": ("undoes freeze-disk", lambda host: host.thaw_disk()),
    "console": ("prints the end of its console", lambda host: host.console_tail(1000)),
}
LAB_VERBS = {
    "status": ("one line for each host", lambda lab: lab.describe()),
    "netns": ("the path of its network namespace, for nsenter --net=", lambda lab: lab.namespace()),
    "stop": ("ends the lab", lambda lab: lab.stopping.set()),
}


@contextlib.contextmanager
def _address(folder):
    """The socket's address by a descriptor: its path may exceed the 107 bytes of sun_path."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET_NAME}"
    finally:
        os.close(fd)


class Server:
    """Serves a lab's verbs, each connection on a thread of its own."""

    def __init__(self, lab):
        self._lab = lab
        self._socket = socket.socket(socket.AF_UNIX)
        with _address(lab.folder) as address:
            self._socket.bind(address)
        self._socket.listen()
        threading.Thread(target=self._accept, name="kvmhost-control", daemon=True).start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):  # the client is gone
            data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 2)
            try:
                status, text = self._answer(json.loads(data), fds, connection)
            except (HostDied, TimeoutError, subprocess.TimeoutExpired, OSError, TypeError,
                    ValueError) as error:
                status, text = FAILED, str(error)
            finally:
                for fd in fds:
                    os.close(fd)
            connection.sendall(json.dumps({"status": status, "text": text or ""}).encode())
            connection.shutdown(socket.SHUT_RDWR)  # also wakes _end_with_client, which reads it

    def _answer(self, request, fds, connection):
        verb, words = request["verb"], request["words"]
        if verb in LAB_VERBS:
            return 0, LAB_VERBS[verb][1](self._lab, *words)
        host = self._lab.host(int(words[0]))
        if verb == "run":
            return self._run(host, request, fds, connection), ""
        return 0, HOST_VERBS[verb][1](host, *words[1:])

    @staticmethod
    def _run(host, request, fds, connection):
        job = host.start(request["command"], cwd=request["cwd"])
        threading.Thread(target=_end_with_client, args=(connection, job), daemon=True).start()
        streams = dict(zip((wire.OUT, wire.ERR), fds))

        def write(kind, data):
            while data:
                data = data[os.write(streams[kind], data):]
        return job.wait(write)


def _end_with_client(connection, job):
    """Kills a command whose client was interrupted."""
    with contextlib.suppress(OSError):
        if not connection.recv(1):
            job.signal(9)


def labs():
    """The names of the labs that run."""
    folder = images.cache_dir() / "labs"
    return sorted(path.name for path in folder.iterdir() if (path / SOCKET_NAME).exists())


def request(lab, verb, words, command=()):
    """Asks a lab to do something; (status, text). OSError when there is no such lab."""
    message = {"verb": verb, "words": words, "command": command, "cwd": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as connection:
        with _address(images.cache_dir() / "labs" / lab) as address:
            connection.connect(address)
        socket.send_fds(connection, [json.dumps(message).encode()], [1, 2])
        with connection.makefile("rb") as answer:
            reply = answer.read()
    if not reply:
        raise OSError("the lab ended")
    reply = json.loads(reply)
    return reply["status"], reply["text"]
