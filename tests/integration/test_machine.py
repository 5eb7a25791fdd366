"""The whole machine under `gemel run`: our own bare-metal guests in the real gemel-vmm on /dev/kvm."""

import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"
DEADLINE = 60

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")


def command(guest, words="", *options):
    kernel = BUILD / f"tests/guests/guest-{guest}"
    return [str(GEMEL), "run", "--kernel", str(kernel), "--cmdline", words,
            *(() if "--profile" in options else ("--profile", "server")),
            *(() if "--memory" in options else ("--memory", "32M")), *options]


def run(guest, words="", *options):
    return subprocess.run(command(guest, words, *options), stdin=subprocess.DEVNULL, timeout=DEADLINE,
                          capture_output=True, text=True, check=False)


@pytest.fixture(name="start")
def fixture_start():
    """Starts a guest that does not end by itself; it is ended with the test."""
    started = []

    def start(guest, words="", *options):
        process = subprocess.Popen(command(guest, words, *options), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def vmm_of(process):
    """The pid of gemel-vmm under a `gemel run`, within its jail, once it is there."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        family = children_of(process.pid)
        for pid in family:
            family += children_of(pid)
            if name_of(pid) == "gemel-vmm":
                return int(pid)
        time.sleep(0.01)
    raise AssertionError("no gemel-vmm was started")


def wait_gone(pid):
    deadline = time.monotonic() + DEADLINE
    while pathlib.Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


both_profiles = pytest.mark.parametrize("profile", ["server", "micro"])


@both_profiles
@pytest.mark.parametrize("way", ["reset", "i8042"])
def test_reboot_with_on_reboot_exit_ends_with_0(way, profile):
    result = run("power", way, "--profile", profile, "--on-reboot", "exit")
    assert (result.returncode, result.stdout) == (0, "begin\n")


@both_profiles
def test_reboot_resets_the_machine_again_and_again(start, profile):
    guest = start("power", "reset", "--profile", profile)
    assert [guest.stdout.readline() for _ in range(5)] == ["begin\n"] * 5


@both_profiles
def test_reset_with_a_disk_and_many_cpus_comes_up_again(start, tmp_path, profile):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    guest = start("power", "reset", "--profile", profile, "--cpus", "8",
                  "--disk", f"path={tmp_path / 'disk'}")
    assert [guest.stdout.readline() for _ in range(3)] == ["begin\n"] * 3


def test_triple_fault_before_user_space_shows_registers_and_ends_with_1():
    result = run("faults", "triple")
    assert result.returncode == 1
    assert "triple fault" in result.stderr and "rip " in result.stderr and "code " in result.stderr


def test_kvm_internal_error_shows_registers_and_ends_with_1():
    result = run("faults", "nothing")
    assert result.returncode == 1
    assert "rip 00000000d8000000" in result.stderr


@pytest.mark.parametrize("cpus, profile", [(1, "server"), (2, "micro"), (64, "server")])
def test_all_cpus_start(cpus, profile):
    result = run("smp", f"cpus={cpus}", "--profile", profile, "--cpus", str(cpus),
                 "--timeout", f"{DEADLINE}s")
    assert result.returncode != 124, result.stdout + result.stderr
    assert "FAIL" not in result.stdout and "expected" not in result.stdout


MACHINES = {"mmio": ["--profile", "micro", "--acpi", "off"], "pci": ["--profile", "server"]}


@pytest.mark.parametrize("wait", ["poll", "interrupt"])
@pytest.mark.parametrize("pattern", ["randread", "write"])
@pytest.mark.parametrize("transport", MACHINES)
def test_disk_under_load_answers_all_without_error(tmp_path, transport, pattern, wait):
    (tmp_path / "disk").write_bytes(bytes(4 << 20))
    words = f"rw={pattern} transport={transport} wait={wait} qd=32 ms=50 warm=0 settle=0 end=reset"
    result = run("bench", words, *MACHINES[transport], "--on-reboot", "exit", "--memory", "64M",
                 "--disk", f"path={tmp_path / 'disk'}", "--timeout", f"{DEADLINE}s")
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["transport"] == transport
    assert found["ops"] >= 32 and found["errors"] == 0
    assert (found["interrupts"] > 0) == (wait == "interrupt")


def test_random_writes_reach_the_whole_disk(tmp_path):
    with open(tmp_path / "disk", "wb") as disk:
        disk.truncate(4 << 20)
    result = run("bench", "rw=randwrite ms=200 warm=0 settle=0 end=reset", *MACHINES["mmio"],
                 "--on-reboot", "exit", "--memory", "64M", "--disk", f"path={tmp_path / 'disk'}")
    found = json.loads(result.stdout.splitlines()[-1])
    allocated = (tmp_path / "disk").stat().st_blocks * 512
    assert found["ops"] < 1024 or allocated > 2 << 20


def test_pci_answers_a_driver_as_the_standards_say():
    result = run("pci", "", "--on-reboot", "exit")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAIL" not in result.stdout
    assert result.stdout.splitlines()[-1] == "ok: the device after it"


def test_pci_is_as_new_after_a_reset(start):
    guest = start("pci")
    ends = 0
    while ends < 3:
        line = guest.stdout.readline()
        assert line.startswith("ok: ")
        ends += line == "ok: the device after it\n"


def test_pam_shows_protects_and_hides_ram():
    result = run("pam", "", "--on-reboot", "exit")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAIL" not in result.stdout
    assert result.stdout.splitlines()[-1] == "ok: all of PAM"


def test_pam_changes_while_another_cpu_reads_and_is_as_new_after_a_reset(start):
    guest = start("pam", "reader", "--cpus", "2")
    ends = 0
    while ends < 3:
        line = guest.stdout.readline()
        assert line.startswith("ok: ")
        ends += line == "ok: all of PAM\n"


def test_shared_memory_boots():
    assert run("power", "", "--memory", "32M,shared=on").returncode == 0


def test_acpi_off_boots():
    assert run("power", "reset", *MACHINES["mmio"], "--on-reboot", "exit").returncode == 0


def test_killed_front_end_takes_its_machine_along(start):
    guest = start("faults", "spin")
    assert guest.stdout.readline() == "begin\n"
    vmm = vmm_of(guest)
    guest.kill()
    wait_gone(vmm)


def test_killed_vmm_is_told_in_one_line_and_ends_with_1(start):
    guest = start("faults", "spin")
    assert guest.stdout.readline() == "begin\n"
    os.kill(vmm_of(guest), signal.SIGKILL)
    _, err = guest.communicate(timeout=DEADLINE)
    assert guest.returncode == 1
    assert len(err.strip().splitlines()) == 1 and "9" in err or "KILL" in err.upper()


def test_serial_to_a_file(tmp_path):
    log = tmp_path / "console"
    assert run("power", "", "--serial", f"file:{log}").returncode == 0
    assert log.read_text() == "begin\n"


def test_serial_to_a_full_disk_does_not_hold_the_guest():
    assert run("power", "", "--serial", "file:/dev/full").returncode == 0


def test_terminal_is_put_back_when_the_vmm_dies():
    master, slave = pty.openpty()
    before = os.popen(f"stty -g < {os.ttyname(slave)}").read()
    guest = subprocess.Popen(command("faults", "spin"), stdin=slave, stdout=slave,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    assert b"begin" in os.read(master, 100)
    os.kill(vmm_of(guest), signal.SIGKILL)
    guest.wait(timeout=DEADLINE)
    after = os.popen(f"stty -g < {os.ttyname(slave)}").read()
    os.close(master)
    os.close(slave)
    assert after == before


def test_menu_on_a_terminal_that_is_not_the_controlling_one_resets_and_quits():
    """A machine without a single virtio device: its reset has nothing to wait for."""
    master, slave = pty.openpty()
    guest = subprocess.Popen(command("faults", "spin", "--rng", "off"), stdin=slave, stdout=slave,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    assert b"begin" in os.read(master, 100)
    os.write(master, b"\x1dr")
    assert b"begin" in os.read(master, 100)
    os.write(master, b"\x1dq")
    assert guest.wait(timeout=DEADLINE) == 0
    os.close(master)
    os.close(slave)


@pytest.fixture(name="typist")
def fixture_typist():
    """A guest on a terminal of its own, stderr too, and what reads and types there."""
    opened = []

    class Typist:
        def __init__(self, guest, words, *options):
            self.master, self.slave = pty.openpty()
            self.process = subprocess.Popen(command(guest, words, *options), stdin=self.slave,
                                            stdout=self.slave, stderr=self.slave,
                                            start_new_session=True)
            self.seen = b""
            opened.append(self)

        def type(self, keys):
            os.write(self.master, keys)

        def read_until(self, wanted):
            deadline = time.monotonic() + DEADLINE
            while wanted not in self.seen:
                assert select.select([self.master], [], [], deadline - time.monotonic())[0], self.seen
                self.seen += os.read(self.master, 4096)
            self.seen = self.seen.split(wanted, 1)[1]

    yield Typist
    for one in opened:
        one.process.kill()
        one.process.wait()
        os.close(one.master)
        os.close(one.slave)


def test_menu_presses_the_sleep_button(typist):
    console = typist("console", "sleep")
    console.read_until(b"waiting")
    console.type(b"\x1ds")
    assert console.process.wait(timeout=DEADLINE) == 0


def test_sleep_button_of_a_machine_without_one_is_a_note(typist):
    console = typist("faults", "spin", "--profile", "micro")
    console.read_until(b"begin")
    console.type(b"\x1ds")
    console.read_until(b"sleep button: this machine has none")


def test_menu_shows_and_sets_the_balloon(typist):
    console = typist("faults", "spin", "--balloon", "on")
    console.read_until(b"begin")
    console.type(b"\x1db")
    console.read_until(b"balloon: 0 MiB asked for, 0 MiB given")
    console.read_until(b"(Enter: as it is)? ")
    console.type(b"9\x7f16M\r")
    console.read_until(b"balloon: 16M asked for")
    console.type(b"\x1db")
    console.read_until(b"balloon: 16 MiB asked for, 0 MiB given")
    console.type(b"64M\r")
    console.read_until(b"more than the memory")
    console.type(b"\x1dq")
    assert console.process.wait(timeout=DEADLINE) == 0


def uuid_of(typist, *options):
    console = typist("faults", "spin", *options)
    console.read_until(b"begin")
    console.type(b"\x1di")
    console.read_until(b"UUID ")
    while len(console.seen) < 36:
        console.seen += os.read(console.master, 4096)
    uuid = console.seen[:36].decode()
    console.type(b"\x1dq")
    assert console.process.wait(timeout=DEADLINE) == 0
    return uuid


def test_uuid_stays_with_name_and_disk(typist, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    (tmp_path / "link").symlink_to("a")
    first = uuid_of(typist, "--disk", f"path={tmp_path / 'a'}")
    assert uuid_of(typist, "--disk", f"path={tmp_path / 'link'}") == first
    assert uuid_of(typist, "--disk", f"path={tmp_path / 'b'}") != first
    assert uuid_of(typist, "--disk", f"path={tmp_path / 'a'}", "--name", "web") != first
    assert uuid_of(typist, "--uuid", first.upper()) == first


def test_machines_without_a_disk_of_their_own_have_new_uuids(typist, tmp_path):
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    disk = ("--disk", f"path={tmp_path / 'a'},readonly=on")
    assert uuid_of(typist, *disk) != uuid_of(typist, *disk)


def test_stderr_that_nobody_reads_does_not_keep_the_timeout_from_acting():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writing, True)
    guest = subprocess.Popen(command("faults", "spin", "--timeout", "1s"), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=writing)
    assert guest.wait(timeout=DEADLINE) == 124
    os.close(reading)
    os.close(writing)


def test_disk_of_another_machine_is_refused(start, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    first = start("faults", "spin", "--disk", f"path={disk}")
    assert first.stdout.readline() == "begin\n"
    second = run("power", "", "--disk", f"path={disk}")
    assert second.returncode == 2
    assert str(disk) in second.stderr and "in use" in second.stderr
