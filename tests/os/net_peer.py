#!/usr/bin/python3 -B
"""net_peer.py TOOL GEMEL RUN...: the host's side of test_net.py, run in the emulated host.

Serves the guest's TCP, sits at gemel's terminal, and does what the guest asks for. Prints the
guest's console, and "host: ..." lines for the test. Its status is gemel's.
"""

import contextlib
import fcntl
import os
import re
import select
import subprocess
import sys
import termios
import time

PATIENCE = 900  # seconds for all: many times what a quiet machine needs
ESCAPE = b"\x1d"  # Ctrl-]
FORWARDED = "10000000"
TOOL = sys.argv[1]


def say(*words):
    print("host:", *words, flush=True)


def forward(terminal):
    """Through the forwarded port to the guest's server."""
    for verb in ("up", "down"):
        done = subprocess.run([TOOL, verb, "127.0.0.1", "2222", FORWARDED], check=False,
                              capture_output=True, text=True)
        say("forward", done.stdout.strip())
    os.write(terminal, ESCAPE + b"i" + b"done\n")


def toggle_cables(terminal):
    os.write(terminal, ESCAPE + b"l")


STEPS = {"guest: listening": forward, "guest: pull the cable": toggle_cables,
         "guest: plug it in": toggle_cables}


def start(command):
    """gemel at a terminal of its own; its process and our end of that."""
    ours, theirs = os.openpty()

    def own():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, preexec_fn=own)
    os.close(theirs)
    return process, ours


def pump(process, terminal, deadline):
    text, seen = "", 0
    waiting = dict(STEPS)
    while time.monotonic() < deadline:
        ready = select.select([process.stdout, terminal], [], [], 1)[0]
        if terminal in ready:
            with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
                os.read(terminal, 65536)  # what the terminal echoes
        if process.stdout not in ready:
            continue
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            return
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        text += data.decode(errors="replace")
        for line in re.findall(r"guest: [^\r\n]*(?=\r?\n)", text[seen:]):
            if act := waiting.pop(line, None):
                act(terminal)
        seen = text.rfind("\n") + 1
    say("no end")
    process.kill()


def main():
    with subprocess.Popen([TOOL, "serve", "5001"], stdout=subprocess.PIPE) as server:
        server.stdout.readline()
        process, terminal = start(sys.argv[2:])
        try:
            pump(process, terminal, time.monotonic() + PATIENCE)
            return process.wait()
        finally:
            process.kill()
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
