"""Disks on an iSCSI target: libiscsi's backend and gemel run, with a real tgtd on the loopback."""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

import iscsi_target
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
TOOL = BUILD / "tests/integration/iscsi_tool"
GEMEL = BUILD / "cli/gemel"
BENCH = BUILD / "tests/guests/guest-bench"
DEADLINE = 30
A, B = "iqn.2026-11.test:a", "iqn.2026-11.test:b"
# Keys as cluster/records.h makes them: nodes 1 and 2, epochs 1.1 and 1.2.
KEY_A, KEY_B = 0x6D01000100000001, 0x6D02000100000002

missing = iscsi_target.missing()
pytestmark = [pytest.mark.skipif(not TOOL.exists(), reason=f"{TOOL} is not built"),
              pytest.mark.skipif(missing is not None, reason=missing or "")]


@pytest.fixture(name="target")
def one_target(tmp_path):
    target = iscsi_target.Target(tmp_path).start()
    yield target
    target.stop()


class Disk:
    """An iscsi_tool: tell() gives it a command, expect() waits for a line."""

    def __init__(self, port, initiator, isid=1, conflict="fail", *more):
        environment = os.environ | {"GEMEL_DIAL": str(BUILD / "helpers/dial/gemel-dial")}
        self.process = subprocess.Popen(
            [TOOL, str(port), iscsi_target.NAME, "1", initiator, str(isid), "0", conflict, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment)
        self.left = b""
        self.first = self.line()

    def line(self, timeout=DEADLINE):
        deadline = time.monotonic() + timeout
        while b"\n" not in self.left:
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        max(0, deadline - time.monotonic()))
            if not ready:
                return None
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                return None
            self.left += piece
        line, self.left = self.left.split(b"\n", 1)
        return line.decode().rstrip()

    def tell(self, *commands):
        self.process.stdin.write(("\n".join(commands) + "\n").encode())
        self.process.stdin.flush()

    def ask(self, command):
        self.tell(command)
        return self.line()

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(name="disk")
def disks():
    made = []

    def make(*words):
        made.append(Disk(*words))
        return made[-1]

    yield make
    for each in made:
        each.end()


def claim(disk, mine, others=()):
    """Takes the disk as StorageClaim does."""
    assert disk.ask(f"register {mine}").startswith("answer good")
    for other in others:
        assert disk.ask(f"preempt {mine} {other}").startswith("answer good")
    if not others:
        assert disk.ask(f"reserve {mine}").startswith("answer good")
    assert disk.ask(f"keys {mine}") == f"answer good keys={mine} holder={mine}"


def test_data_reaches_the_target_and_comes_back(target, disk):
    one = disk(target.port, A)
    assert one.first.split()[:2] == ["opened", str(16 << 20)]
    assert one.ask("write 1 4096 8192 65") == "done 1 8192 65"
    assert one.ask("flush 2") == "done 2 0"
    assert target.content(4096, 8192) == b"A" * 8192
    assert one.ask("read 3 4096 8192") == "done 3 8192 65"
    assert one.ask("durable 4 0 512 66") == "done 4 512 66"
    assert target.content(0, 513) == b"B" * 512 + b"\0"


def test_more_than_one_command_carries_is_cut(target, disk):
    one = disk(target.port, A)
    assert one.ask(f"write 1 0 {12 << 20} 67") == f"done 1 {12 << 20} 67"
    assert one.ask(f"read 2 0 {12 << 20}") == f"done 2 {12 << 20} 67"
    assert one.ask(f"zero 3 512 {11 << 20}") == "done 3 0"
    assert target.content(0, 12 << 20) == b"C" * 512 + bytes(11 << 20) + b"C" * ((1 << 20) - 512)


def test_many_requests_at_once_are_all_answered(target, disk):
    one = disk(target.port, A)
    one.tell(*[f"write {i} {i * 65536} 65536 {i + 1}" for i in range(100)])
    lines = {one.line() for _ in range(100)}
    assert lines == {f"done {i} 65536 {i + 1}" for i in range(100)}
    assert target.content(0, 6553600) == b"".join(bytes([i + 1]) * 65536 for i in range(100))


def test_requests_are_held_while_the_target_is_away(target, disk):
    one = disk(target.port, A)
    assert one.ask("write 1 0 512 65") == "done 1 512 65"
    target.kill()
    one.tell("write 2 512 512 66", "flush 3")
    assert one.line(timeout=1) is None
    target.start()
    assert {one.line(), one.line()} == {"done 2 512 66", "done 3 0"}
    assert target.content(0, 1024) == b"A" * 512 + b"B" * 512


def test_target_that_says_nothing_is_left_and_found_again(target, disk):
    one = disk(target.port, A)
    target.process.send_signal(signal.SIGSTOP)
    one.tell("write 1 0 512 65")
    assert one.line(timeout=3) is None
    target.process.send_signal(signal.SIGCONT)
    assert one.line() == "done 1 512 65"


def test_target_killed_again_and_again_loses_no_write(target, disk):
    one = disk(target.port, A)
    for i in range(0, 192, 32):
        one.tell(*[f"write {j} {j * 4096} 4096 {j % 250 + 1}" for j in range(i, i + 32)])
        target.kill()
        target.start()
        assert {one.line() for _ in range(32)} == \
            {f"done {j} 4096 {j % 250 + 1}" for j in range(i, i + 32)}
    assert target.content(0, 192 * 4096) == b"".join(
        bytes([j % 250 + 1]) * 4096 for j in range(192))


def test_wrong_target_and_closed_port_are_named(target, disk):
    port = iscsi_target.free_port()
    assert "Connection refused" in disk(port, A).first
    target.must("--op", "delete", "--force", "--mode", "target", "--tid", "1")
    assert disk(target.port, A).first.startswith(f"error {iscsi_target.NAME}: ")


def test_user_and_password_are_checked(tmp_path, disk):
    target = iscsi_target.Target(tmp_path, user=("gemel", "a-long-secret")).start()
    try:
        assert disk(target.port, A).first.startswith("error ")
        assert disk(target.port, A, 1, "fail", "gemel", "another-secret").first.startswith("error ")
        assert disk(target.port, A, 1, "fail", "gemel", "a-long-secret").first.startswith("opened ")
    finally:
        target.stop()


def test_owner_that_was_preempted_writes_no_more(target, disk):
    first, second = disk(target.port, A), disk(target.port, B, 2)
    claim(first, KEY_A)
    assert first.ask("write 1 0 512 65") == "done 1 512 65"
    claim(second, KEY_B, [KEY_A])
    assert second.ask("write 1 0 512 66") == "done 1 512 66"
    first.tell("write 2 0 512 67")
    assert {first.line(), first.line()} == {"conflict", "done 2 -52 67"}
    assert first.ask("flush 3") == "done 3 -52"
    assert target.content(0, 512) == b"B" * 512


def test_owner_that_holds_conflicts_neither_writes_nor_fails(target, disk):
    first, second = disk(target.port, A, 1, "hold"), disk(target.port, B, 2)
    claim(first, KEY_A)
    claim(second, KEY_B, [KEY_A])
    assert first.ask("write 1 0 512 67") == "conflict"
    assert first.line(timeout=0.5) is None
    assert first.ask("state") == "state connected=true conflicted=true"
    assert target.content(0, 512) == bytes(512)


def session_of_a_take_over(port, disk, name, mine, others=()):
    one = disk(port, f"{name}.d0", 1, "claim")
    claim(one, mine, others)
    one.end()


# A machine's process follows the session that claimed its disk, which this target knows for a stranger.
def test_owner_takes_the_disk_over_from_the_session_that_claimed_it(target, disk):
    session_of_a_take_over(target.port, disk, A, KEY_A)
    own = disk(target.port, A, 1, f"own:{KEY_A}")
    assert own.first.split()[0] == "opened"
    assert own.ask("write 1 0 512 65") == "done 1 512 65"
    session_of_a_take_over(target.port, disk, B, KEY_B, [KEY_A])
    assert own.ask("write 2 0 512 66") == "conflict"
    late = disk(target.port, A, 1, f"own:{KEY_A}")
    assert late.first == "conflict" and "reservation conflict" in late.line()
    later = disk(target.port, B, 1, f"own:{KEY_B}")
    assert later.ask("write 1 0 512 67") == "done 1 512 67"
    # In a later epoch what was held is written.
    session_of_a_take_over(target.port, disk, A, KEY_A + 2, [KEY_B])
    own.tell(f"epoch {A} {KEY_A + 2}")
    assert own.line() == "done 2 512 66"
    assert target.content(0, 512) == b"B" * 512


def test_owner_whose_session_is_lost_writes_no_more(target, disk):
    session_of_a_take_over(target.port, disk, A, KEY_A)
    own = disk(target.port, A, 1, f"own:{KEY_A}")
    assert own.ask("write 1 0 512 65") == "done 1 512 65"
    target.kill()
    target.start()  # it has forgotten all reservations, and would let anybody write
    assert own.ask("write 2 0 512 66") == "conflict"
    assert own.line(timeout=0.5) is None
    assert target.content(0, 512) == b"A" * 512


def test_disk_that_nobody_claimed_is_not_opened_as_ones_own(target, disk):
    own = disk(target.port, A, 1, f"own:{KEY_A}")
    assert own.first == "conflict" and "reservation conflict" in own.line()


# A new nexus is a new epoch: once it has claimed the disk, what was held is written.
def test_held_writes_go_on_under_a_new_nexus(target, disk):
    first, second = disk(target.port, A, 1, "hold"), disk(target.port, B, 2)
    claim(first, KEY_A)
    claim(second, KEY_B, [KEY_A])
    assert first.ask("write 1 0 512 67") == "conflict"
    second.end()
    later = 0x6D01000100000003
    first.tell(f"nexus {A} 7 0")
    claim(first, later, [KEY_B])
    assert target.content(0, 512) == bytes(512)
    assert first.ask("go-on") == "done 1 512 67"
    assert target.content(0, 512) == b"C" * 512


# tgt knows a nexus by its session: after a reconnect the owner is a stranger, and must say so.
def test_owner_whose_session_was_lost_is_refused_by_a_weaker_target(target, disk):
    one = disk(target.port, A, 1, "hold")
    claim(one, KEY_A)
    one.tell(f"nexus {A} 1 0", "go-on", "write 1 0 512 65")
    assert one.line() == "conflict"
    assert target.content(0, 512) == bytes(512)


def test_claim_needs_nothing_else_of_the_disk(target, disk):
    first, second = disk(target.port, A), disk(target.port, B, 2, "claim")
    assert second.first.split()[:2] == ["opened", "0"]
    claim(first, KEY_A)
    claim(second, KEY_B, [KEY_A])
    assert first.ask("write 1 0 512 67") == "conflict"


def test_key_that_changed_hands_in_between_is_seen(target, disk):
    first, second = disk(target.port, A), disk(target.port, B, 2)
    claim(first, KEY_A)
    assert second.ask(f"register {KEY_B}").startswith("answer good")
    keys = f"{KEY_A},{KEY_B}"
    assert second.ask(f"keys {KEY_B}") == f"answer good keys={keys} holder={KEY_A}"
    assert second.ask(f"reserve {KEY_B}").startswith("answer conflict")


def test_reservation_of_an_absent_target_is_unknown(target, disk):
    one = disk(target.port, A)
    target.kill()
    assert one.ask(f"register {KEY_A}").startswith("answer unknown")


# ---- gemel run --------------------------------------------------------------------------------------

needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK) or not BENCH.exists(),
                               reason="no /dev/kvm, or no guest")


def url(target):
    return f"iscsi://127.0.0.1:{target.port}/{iscsi_target.NAME}/1"


def machine(words, *disk, **options):
    return subprocess.Popen(
        [GEMEL, "run", "--kernel", BENCH, "--cmdline", words, "--profile", "micro", "--acpi", "off",
         "--on-reboot", "exit", "--memory", "64M", "--timeout", f"{DEADLINE}s",
         *[word for each in disk for word in ("--disk", each)]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options)


@needs_kvm
@pytest.mark.parametrize("pattern", ["randread", "randwrite"])
def test_guest_reads_and_writes_a_target_without_error(target, pattern):
    guest = machine(f"rw={pattern} transport=mmio wait=interrupt qd=32 ms=300 warm=0 settle=0 "
                    "end=reset", url(target))
    out, err = guest.communicate(timeout=2 * DEADLINE)
    assert guest.returncode == 0, out + err
    found = json.loads(out.splitlines()[-1])
    assert found["ops"] >= 32 and found["errors"] == 0, err


@needs_kvm
def test_guest_notices_nothing_of_a_target_that_was_restarted(target):
    guest = machine("rw=randwrite transport=mmio wait=interrupt qd=32 ms=3000 warm=0 settle=0 "
                    "end=reset", url(target))
    image = target.image
    deadline = time.monotonic() + DEADLINE
    while image.stat().st_blocks == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    target.kill()
    target.start()
    out, err = guest.communicate(timeout=2 * DEADLINE)
    assert guest.returncode == 0, out + err
    found = json.loads(out.splitlines()[-1])
    assert found["errors"] == 0
    assert "requests are held" in err and "back" in err, err


@needs_kvm
def test_machine_on_a_target_that_is_away_can_be_turned_off(target):
    guest = machine("rw=randwrite transport=mmio wait=interrupt qd=32 ms=20000 warm=0 settle=0",
                    url(target))
    deadline = time.monotonic() + DEADLINE
    while target.image.stat().st_blocks == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    target.kill()
    guest.send_signal(signal.SIGQUIT)
    guest.communicate(timeout=DEADLINE / 2)


def test_run_says_what_is_wrong_with_a_target():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        guest = machine("", f"iscsi://127.0.0.1:{port}/iqn.2026-11.test:x/1")
        out, err = guest.communicate(timeout=DEADLINE)
    assert guest.returncode == 1, out + err
    assert f"disk: iscsi://127.0.0.1:{port}/iqn.2026-11.test:x/1: " in err
    assert "Connection refused" in err
