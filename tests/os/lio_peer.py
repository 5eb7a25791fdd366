#!/usr/bin/python3
"""Owners of a disk on LIO, one after another: inside the emulated host. Prints "ok", or what was not."""

import os
import pathlib
import subprocess
import sys

BUILD = pathlib.Path(sys.argv[1])
TARGET = sys.argv[2]
# Of nodes 1, 2 and 1, in epochs 1.1, 1.2 and 1.3 (cluster/records.h).
ONE, TWO, THREE = 0x6D01000100000001, 0x6D02000100000002, 0x6D01000100000003
FOUR, FIVE, SIX = 0x6D01000100000004, 0x6D02000100000005, 0x6D01000100000006


class Disk:
    def __init__(self, name, conflict):
        environment = os.environ | {"GEMEL_DIAL": str(BUILD / "helpers/dial/gemel-dial")}
        self.process = subprocess.Popen(
            [BUILD / "tests/integration/iscsi_tool", "3260", TARGET, "1", name, "1", "0", conflict],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment)
        self.first = self.line()

    def line(self):
        return self.process.stdout.readline().rstrip()

    def tell(self, command):
        self.process.stdin.write(command + "\n")

    def ask(self, command, answer):
        self.tell(command)
        self.expect(answer)

    def expect(self, answer):
        line = self.line()
        assert line.startswith(answer), f"{line!r} is not {answer!r}"

    def end(self):
        self.process.kill()
        self.process.communicate()


def claim(name, mine, other=None):
    """A session of its own takes the disk, and ends."""
    disk = Disk(name, "claim")
    disk.ask(f"register {mine}", "answer good")
    if other:
        disk.ask(f"preempt {mine} {other}", "answer good")
    else:
        disk.ask(f"reserve {mine}", "answer good")
    disk.ask(f"keys {mine}", f"answer good keys={mine} holder={mine}")
    disk.end()


def main():
    claim("iqn.one", ONE)
    one = Disk("iqn.one", "hold")  # the VM's process: as the nexus that was registered
    one.ask("write 1 0 12582912 65", "done 1 12582912 65")
    one.ask("durable 2 0 512 66", "done 2 512 66")
    for command in ("flush 3", "zero 4 512 65536", "unmap 5 512 65536", "discard 6 512 65536"):
        one.ask(command, f"done {command.split()[1]} 0")
    one.tell("nexus iqn.one 1 0")  # the same: as after a cut
    one.tell("go-on")
    one.ask("write 7 0 512 67", "done 7 512 67")

    assert Disk("iqn.stranger", "fail").first.startswith("error "), "a stranger opened it"
    claim("iqn.two", TWO, ONE)
    two = Disk("iqn.two", "hold")
    two.ask("write 1 0 512 68", "done 1 512 68")
    one.ask("write 8 0 512 69", "conflict")
    two.ask("read 2 0 512", "done 2 512 68")

    # The first node again, in a later epoch: what was held is written then, and not before.
    claim("iqn.three", THREE, TWO)
    one.tell("nexus iqn.three 1 0")
    one.tell("go-on")
    one.expect("done 8 512 69")
    two.ask("write 3 0 512 70", "conflict")
    one.ask("read 9 0 512", "done 9 512 69")
    as_a_machine_does()
    print("ok")


def as_a_machine_does():
    """At each login it looks whether the disk is still its own."""
    claim("iqn.four.d0", FOUR, THREE)
    own = Disk("iqn.four", f"own:{FOUR}")
    own.ask("write 1 0 512 71", "done 1 512 71")
    own.tell(f"epoch iqn.four {FOUR}")  # another session of the same epoch
    own.ask("write 2 0 512 72", "done 2 512 72")
    claim("iqn.five.d0", FIVE, FOUR)
    own.ask("write 3 0 512 73", "conflict")
    late = Disk("iqn.four", f"own:{FOUR}")
    assert late.first == "conflict" and "reservation conflict" in late.line(), late.first
    claim("iqn.six.d0", SIX, FIVE)
    own.tell(f"epoch iqn.six {SIX}")
    own.expect("done 3 512 73")


main()
