"""`gemel run` with the real gemel-vmm and bare-metal guests of ours, on the local KVM."""

import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"
CONSOLE = BUILD / "tests/guests/guest-console"
FAULTS = BUILD / "tests/guests/guest-faults"
DEADLINE = 120

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="needs /dev/kvm")


def default_signals():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(name="start", params=["server", "micro"])
def start_fixture(tmp_path, request):
    started = []

    def start(cmdline, *arguments, kernel=CONSOLE, **streams):
        streams.setdefault("stdin", subprocess.DEVNULL)
        streams.setdefault("stdout", subprocess.PIPE)
        command = [GEMEL, "run", "--profile", request.param, "--kernel", kernel, "--memory", "32M",
                   "--cmdline", cmdline, *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path,
                                        preexec_fn=default_signals, **streams))
        return started[-1]
    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def expected_lines(count):
    return b"".join(b"%010d " % i + b"." * 52 + b"\n" for i in range(count))


def test_guest_powers_off_status_0(start):
    process = start("lines=3")
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (0, expected_lines(3), b"")


def test_output_is_complete_for_a_late_reader(start):
    process = start("lines=2300")  # more than the pipes hold
    time.sleep(1)
    assert process.poll() is None
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert out == expected_lines(2300)


def test_output_to_a_file_is_complete(start, tmp_path):
    process = start("lines=300", "--serial", "file:log")
    assert process.wait(timeout=DEADLINE) == 0
    assert (tmp_path / "log").read_bytes() == expected_lines(300)


def test_input_reaches_the_guest_whole(start):
    text = b"The quick brown fox jumps over the lazy dog. " * 100 + b"\x1d\x03\xff\x00Q"
    process = start("echo", stdin=subprocess.PIPE)
    out, _ = process.communicate(text, timeout=DEADLINE)
    assert process.returncode == 0
    assert out == text


def test_serial_socket_carries_both_ways(start, tmp_path):
    process = start("echo", "--serial", "unix:s")
    deadline = time.monotonic() + DEADLINE
    with socket.socket(socket.AF_UNIX) as client:
        while client.connect_ex(str(tmp_path / "s")) != 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client.settimeout(DEADLINE)
        client.sendall(b"hello Q")
        seen = b""
        while not seen.endswith(b"Q"):
            seen += client.recv(100)
        assert seen == b"hello Q"
    assert process.wait(timeout=DEADLINE) == 0


def test_sigterm_is_seen_as_the_power_button(start):
    process = start("button")
    assert process.stdout.read(8) == b"waiting\n"
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 0


def test_second_sigterm_turns_off_a_guest_that_does_not_listen(start):
    process = start("spin", kernel=FAULTS)
    assert process.stdout.read(6) == b"begin\n"
    process.terminate()
    assert b"once more to power off" in process.stderr.readline()
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 0


def test_timeout_ends_with_124(start):
    process = start("spin", "--timeout", "1s", kernel=FAULTS)
    assert process.wait(timeout=DEADLINE) == 124


def test_triple_fault_is_status_1_with_registers(start):
    process = start("triple", kernel=FAULTS)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert b"triple fault" in err and b"\nrip " in err and b"\ncode " in err


def test_not_a_kernel_is_one_line_and_status_2(start, tmp_path):
    (tmp_path / "text").write_bytes(b"#!/bin/sh\n" * 1000)
    process = start("", "--serial", "file:log", kernel="text")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert err.startswith(b"error: kernel: text: ") and err.count(b"\n") == 1
    assert not (tmp_path / "log").exists()


def test_truncated_kernel_is_one_line_and_status_2(start, tmp_path):
    (tmp_path / "cut").write_bytes(CONSOLE.read_bytes()[:5000])
    process = start("", kernel="cut")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert err.startswith(b"error: kernel: cut: ") and err.count(b"\n") == 1
