#!/usr/bin/python3 -B
"""links_peer.py WHAT -- GEMEL RUN...: the host's side of test_links.py, run in the emulated host.

Starts the command and does what WHAT says with its sockets, which lie in the current folder; prints
"host: ..." lines for the test, and passes the guest's console on. Its status is the command's.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

PATIENCE = 240  # seconds: many times what a quiet machine needs


class Vm:
    """The command, its console, and what has been read of it."""

    def __init__(self, command):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        self.text = ""
        self.news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := self.process.stdout.read1(65536):
            with self.news:
                self.text += data.decode(errors="replace")
                self.news.notify_all()
        with self.news:
            self.text += "\n[end]"
            self.news.notify_all()

    def wait_for(self, pattern):
        def seen():
            return re.search(pattern, self.text) or "[end]" in self.text

        with self.news:
            assert self.news.wait_for(seen, PATIENCE), f"no {pattern} from the guest"
            return re.search(pattern, self.text)

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def rss(self):
        """MiB that gemel-vmm has resident: this VM's, not that of one that a test before left behind."""
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            status = status_of(entry.name)
            if status.get("Name") == "gemel-vmm" and "VmRSS" in status and self._began(status):
                return int(status["VmRSS"].split()[0]) >> 10
        raise AssertionError("no gemel-vmm")

    def _began(self, status):
        """Whether the command is among the process's ancestors."""
        while status.get("PPid", "0") != "0":
            if int(status["PPid"]) == self.process.pid:
                return True
            status = status_of(status["PPid"])
        return False


def status_of(pid):
    """The fields of /proc/PID/status; none if the process is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def say(*words):
    print("host:", *words, flush=True)


def connect(path):
    """A connection, as soon as somebody listens."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    until(lambda: client.connect_ex(path) == 0, f"nobody listens on {path}")
    return client


def read_all(client):
    parts = []
    while data := client.recv(65536):
        parts.append(data)
    return b"".join(parts)


def read_line(client):
    line = b""
    while not line.endswith(b"\n"):
        data = client.recv(1)
        if not data:
            break
        line += data
    return line.decode().strip()


def until(condition, what, details=lambda: ""):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} {details()}"
        time.sleep(0.3)  # a guest's progress has no descriptor to wait for


# ---- vsock ---------------------------------------------------------------------------------------

def echo_server(path):
    """Echoes one connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        client = listener.accept()[0]
        while data := client.recv(65536):
            client.sendall(data)
        client.close()

    threading.Thread(target=serve, daemon=True).start()


def guest_echo(size):
    """Through the guest's echo server and back; how many bytes came, and whether they are the same."""
    client = connect("vm.sock")
    client.sendall(b"CONNECT 1024\n")
    answer = read_line(client)
    sent = bytes(i * 13 & 0xFF for i in range(251)) * (size // 251 + 1)

    def write():
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

    threading.Thread(target=write, daemon=True).start()
    got = read_all(client)
    say(f"echo: {answer.split()[0] if answer else 'refused'}, {len(got)} bytes,",
        "same" if got == sent else "other")
    return answer != ""


def do_vsock(vm):
    echo_server("vm.sock_2000")
    silent = [connect("vm.sock") for _ in range(100)]  # that say nothing, and stay
    vm.wait_for("guest: call 2000")
    # Refused until the guest listens.
    until(lambda: guest_echo(1000), "the guest never listened")
    guest_echo(1_000_000)
    stranger = connect("vm.sock")
    stranger.sendall(b"CONNECT 77\n")
    say(f"nobody: {read_line(stranger) or 'refused'}")
    guest_echo(100_000)
    del silent


# ---- balloon -------------------------------------------------------------------------------------

class Balloon:
    def __init__(self):
        self.control = connect("proxy.sock")

    def ask(self, request):
        self.control.sendall(request.encode() + b"\n")
        return read_line(self.control).split()

    def info(self):
        """Target, actual and reported in MiB, age in ms, statistics by tag."""
        words = self.ask("info")
        sizes = [int(word) >> 20 for word in words[:3]]
        statistics = dict(map(int, word.split("=")) for word in words[4:])
        return *sizes, int(words[3]), statistics

    def free(self):
        """MiB that the guest does not use for anything, by its newest statistics."""
        return self.info()[4].get(4, 0) >> 20


def do_balloon(vm):
    vm.wait_for("guest: filled")
    full = vm.rss()
    vm.type("free")
    vm.wait_for("guest: freed")
    balloon = Balloon()
    until(lambda: vm.rss() < full - 100, "free pages were not given back",
          lambda: f"({full} MiB, then {vm.rss()}, the balloon says {balloon.info()})")
    say(f"reporting: {full} MiB, then {vm.rss()}, reported {balloon.info()[2]}")
    rss, free = vm.rss(), balloon.free()
    balloon.ask(f"balloon {128 << 20}")
    until(lambda: balloon.info()[1] == 128, "the balloon did not inflate")
    until(lambda: balloon.free() < free - 100, "no new statistics")
    say(f"inflated: free {free}, then {balloon.free()}, rss {rss}, then {vm.rss()},",
        f"{len(balloon.info()[4])} statistics")
    balloon.ask("balloon 0")
    until(lambda: balloon.info()[1] == 0, "the balloon did not deflate")
    until(lambda: balloon.free() > free - 28, "the guest did not get its memory back")
    say(f"deflated: free {balloon.free()}")
    wanted = free - 70
    balloon.ask(f"balloon {wanted << 20}")
    until(lambda: balloon.info()[1] == wanted, "the balloon did not inflate again")
    vm.type("fill")
    vm.wait_for("guest: filled again")
    say(f"out of memory: {wanted}, then {balloon.info()[1]}")


# ---- console -------------------------------------------------------------------------------------

def do_console(vm):
    console = connect("hvc.sock")
    agent = connect("agent.sock")
    agent.sendall(b"who are you?\n")
    vm.wait_for("guest: asked")
    say(f"agent: {read_line(agent)}")
    zeros = 0
    while zeros < 1_000_000 and (data := agent.recv(65536)):
        zeros += len(data)
    say(f"agent: then {zeros} bytes")
    say(f"console: {read_line(console)}")


def main():
    what, command = sys.argv[1], sys.argv[3:]
    folder = pathlib.Path("/run/links")
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    for old in folder.iterdir():
        old.unlink()
    vm = Vm(command)
    try:
        {"vsock": do_vsock, "balloon": do_balloon, "console": do_console}[what](vm)
        status = vm.process.wait(PATIENCE)
        say("left:", *sorted(path.name for path in folder.iterdir()
                             if path.name not in ("vm.sock_2000", "proxy.sock")))
        return status
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        say(f"failed: {error}")
        return 1
    finally:
        vm.process.kill()
        print(vm.text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
