#!/usr/bin/python3 -EsS
"""console_relay.py FOLDER: prints what the machines of a gemeld say on their consoles, one machine after the
other, as soon as they say it. In an emulated host; its output is heard outside, and ends with the host."""

import os
import pathlib
import socket
import struct
import sys
import time

LOOK = 0.1


def relay(path):
    """All of one machine's text, to its end."""
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(str(path))
        console.sendall(struct.pack("<Q", 0))
        console.recv(8, socket.MSG_WAITALL)  # where the text begins, which is at its beginning
        while piece := console.recv(4096):
            os.write(1, piece)
        os.write(1, b"\n")  # what it said last may be half a line


def main():
    folder, seen = pathlib.Path(sys.argv[1]), None
    while True:
        for path in folder.glob("*/console.sock"):
            try:
                now = path.stat().st_ino, path.stat().st_ctime_ns
                if now != seen:
                    relay(path)
                    seen = now
            except OSError:
                pass  # it is not there yet, or not any more
        time.sleep(LOOK)


main()
