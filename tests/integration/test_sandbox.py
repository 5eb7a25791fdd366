"""The sandbox of a real VM under `gemel run`, as the host sees it."""

import contextlib
import fcntl
import os
import pathlib
import signal
import struct
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"
GUESTS = BUILD / "tests/guests"
DEADLINE = 60

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def command(guest, words, *options):
    return [GEMEL, "run", "--kernel", GUESTS / f"guest-{guest}", "--cmdline", words,
            "--profile", "server", "--memory", "32M", *options]


@pytest.fixture(name="start")
def start_fixture():
    started = []

    def start(guest, words, *options, prefix=()):
        started.append(subprocess.Popen([*prefix, *command(guest, words, *options)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True))
        return started[-1]
    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children_of(pid):
    try:
        return [int(child) for child in
                pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def family_of(process):
    """All below a `gemel run`, the outermost first."""
    family = children_of(process.pid)
    for pid in family:
        family += children_of(pid)
    return family


def is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)


def running(start, *options, **more):
    """A guest that spins, and its gemel-vmm."""
    process = start("faults", "spin", *options, **more)
    assert process.stdout.readline() == "begin\n"
    return process, family_of(process)[-1]


def status_of(thread):
    lines = (thread / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    return f"path={tmp_path / 'disk'}"


def test_every_thread_of_a_running_vm_is_confined(start, disk):
    _, vmm = running(start, "--cpus", "2", "--disk", disk)
    threads = {(thread / "comm").read_text().strip(): status_of(thread)
               for thread in pathlib.Path(f"/proc/{vmm}/task").iterdir()}
    assert {"gemel-vmm", "vcpu-0", "vcpu-1", "blk0", "rng0"} <= set(threads)
    for name, status in threads.items():
        assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1"), name
        assert {status[key] for key in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {
            "0" * 16}, name


@needs_root
def test_a_running_vm_of_root_sees_nothing_of_the_host(start, disk):
    _, vmm = running(start, "--disk", disk)
    assert os.listdir(f"/proc/{vmm}/root") == []
    for kind in ("user", "mnt", "net", "pid", "ipc"):
        assert os.readlink(f"/proc/{vmm}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
    assert int(status_of(pathlib.Path(f"/proc/{vmm}"))["Uid"].split()[0]) >= 0x70000000


def test_off_leaves_it_out(start):
    process, vmm = running(start, "--sandbox", "off")
    assert family_of(process) == [vmm]
    assert status_of(pathlib.Path(f"/proc/{vmm}"))["Seccomp"].strip() == "0"


def test_info_names_the_layers(start):
    _, err = start("power", "", "-v").communicate(timeout=DEADLINE)
    assert "gemel: sandbox: " in err and "seccomp" in err
    _, err = start("power", "", "-v", "--sandbox", "off").communicate(timeout=DEADLINE)
    assert "gemel: sandbox: off\n" in err


def test_missing_layers_are_named_and_required_refuses(start):
    """Root of a user namespace has no user to give away."""
    prefix = ("unshare", "-Ur")
    process = start("power", "", prefix=prefix)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, "begin\n")
    assert err.startswith("gemel: sandbox: without ") and "own user" in err
    process = start("power", "", "--sandbox", "required", prefix=prefix)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: sandbox: required: this host does not give ")
    assert "own user" in err


def test_unknown_word_is_refused(start):
    process = start("power", "", "--sandbox", "maybe")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert err == "error: sandbox: maybe: unknown; there is required, default, off\n"


def test_refused_system_call_ends_the_vm_and_is_named():
    done = subprocess.run(command("power", ""), capture_output=True, text=True, check=False,
                          env=dict(os.environ, GEMEL_VMM=BUILD / "tests/integration/refused_call"))
    assert done.returncode == 1
    assert "killed by its sandbox" in done.stderr and ": socket 41 refused_call" in done.stderr


def test_vmm_that_may_not_be_executed_is_told(tmp_path):
    vmm = tmp_path / "vmm"
    vmm.write_bytes(b"\x7fELF")
    done = subprocess.run(command("power", ""), capture_output=True, text=True, check=False,
                          env=dict(os.environ, GEMEL_VMM=vmm))
    assert done.returncode == 1
    assert "gemel-vmm was not started: exec: Permission denied" in done.stderr


@pytest.mark.parametrize("index", [None, 0, 1, 2])
def test_whoever_is_killed_nobody_is_left(start, index):
    process, _ = running(start)
    family = family_of(process)
    assert len(family) == 3  # jail, keeper, gemel-vmm
    os.kill(process.pid if index is None else family[index], signal.SIGKILL)
    process.wait(timeout=DEADLINE)
    for pid in family:
        wait_for(lambda: is_gone(pid), "the end of all")
    if index is not None:
        assert process.returncode == 1


def test_disk_is_free_when_a_killed_vm_has_been_reported(start, disk):
    process, _ = running(start, "--disk", disk)
    # Signals that come faster than they are taken are one.
    end = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
    with open(disk.removeprefix("path="), "rb+") as image:  # at once, not after a moment
        fcntl.fcntl(image, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))


def test_reset_works_in_the_sandbox(start, disk):
    process = start("power", "reset", "--cpus", "4", "--disk", disk)
    assert [process.stdout.readline() for _ in range(4)] == ["begin\n"] * 4


@pytest.mark.parametrize("engine", ["sync", "auto"])
def test_guest_runs_with_each_disk_engine(start, disk, engine):
    process = start("power", "", "--disk", f"{disk},engine={engine}")
    assert process.wait(timeout=DEADLINE) == 0
