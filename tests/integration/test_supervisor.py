"""VMs that outlive their daemon: the supervisor (supervisor_probe.cc) with real guests on /dev/kvm."""

import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import time
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
PROBE = BUILD / "tests/integration/supervisor_probe"
DEADLINE = int(os.environ.get("GEMEL_DEADLINE") or 60)
# CLOCK_REALTIME_COARSE, which files' times come from: some ms behind the clock of time.time().
CLOCK_OF_FILES = 5

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")


CGROUPS = pathlib.Path("/sys/fs/cgroup")
CONTROLLERS = (CGROUPS / "cgroup.controllers").read_text().split() \
    if (CGROUPS / "cgroup.controllers").exists() else []
needs_cgroup2 = pytest.mark.skipif({"cpu", "memory"} - set(CONTROLLERS) != set(),
                                   reason="no cgroup v2 with cpu and memory (tests/kvmhost has them)")


class Daemon:
    """A daemon with a run folder of its own; it can be killed and begun anew."""

    def __init__(self, run_dir):
        self.run_dir = run_dir
        self.process = None
        self.text = b""
        self.begin()

    def begin(self):
        environment = dict(os.environ, GEMEL_JAIL=BUILD / "jail/gemel-jail",
                           GEMEL_VMM=BUILD / "vmm/process/gemel-vmm")
        self.text = b""
        self.process = subprocess.Popen([PROBE, self.run_dir], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=environment)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, start, timeout=DEADLINE):
        """The next line, which begins with `start`."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.text:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert ready, f"waited {timeout} s for {start!r}"
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, f"the daemon ended instead of {start!r}"
            self.text += piece
        line, self.text = self.text.split(b"\n", 1)
        line = line.decode()
        assert line.startswith(start), line
        return line

    def ask(self, line, answer=None):
        self.say(line)
        return self.hear(answer or f"{line} ")

    def start(self, guest, *words):
        uid = str(uuid.uuid4())
        self.say(f"start {uid} {BUILD / 'tests/guests'}/guest-{guest} {' '.join(words)}")
        self.hear(f"start {uid} ok")
        return uid

    def folder(self, uid):
        return self.run_dir / "vms" / uid

    def again(self, *uids):
        """Killed, begun anew, and what it finds."""
        self.kill()
        self.begin()
        self.say(" ".join(["adopt", *uids]))
        lines = []
        while not lines or lines[-1] != "adopt ok":
            lines.append(self.hear(""))
        return lines[:-1]

    def close(self):
        """Nothing of ours stays."""
        self.again()
        self.kill()


@pytest.fixture(name="daemon")
def fixture_daemon(tmp_path):
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.close()
    assert not jails(daemon) and not list((tmp_path / "vms").iterdir())


def jails(daemon):
    """The outer process of each jail of this daemon's, by uid."""
    found = {}
    mark = f"--vm={daemon.run_dir}/vms/"
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        words = command(entry.name)
        if len(words) > 1 and words[0] == "gemel-jail" and words[1].startswith(mark):
            parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if command(parent) != words:
                found[words[1][len(mark):]] = int(entry.name)
    return found


def command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def child_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


class Console:
    def __init__(self, daemon, uid, first=0):
        self.socket = socket.socket(socket.AF_UNIX)
        here = os.open(daemon.folder(uid), os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{here}/console.sock")
        os.close(here)
        self.socket.settimeout(DEADLINE)
        self.socket.sendall(struct.pack("<Q", first))
        self.first, = struct.unpack("<Q", self.take(8))

    def take(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, f"the console ended after {data!r}"
            data += piece
        return data

    def until(self, text):
        data = b""
        while text not in data:
            data += self.take(1)
        return data


def test_a_guest_runs_and_ends_by_itself(daemon):
    uid = daemon.start("power")
    assert f"ended {uid} guest-powered-off status=0" in daemon.hear("ended")
    assert daemon.ask(f"last-console {uid}").endswith(" begin|")
    assert daemon.ask(f"release {uid}").endswith("ok")
    assert not daemon.folder(uid).exists()


def test_every_verb_on_a_running_vm(daemon):
    uid = daemon.start("console", "echo")
    for verb in "pause", "resume", "power-button":
        assert daemon.ask(f"{verb} {uid}").endswith("ok")
    assert daemon.ask(f"pause {uid}").endswith("ok")
    assert " paused " in daemon.ask(f"info {uid}")
    assert daemon.ask(f"resume {uid}").endswith("ok")
    daemon.say(f"reset {uid}")
    assert sorted([daemon.hear(""), daemon.hear("")]) == [f"reset {uid} ok", f"was-reset {uid}"]
    assert " running resets=1 " in daemon.ask(f"info {uid}")
    daemon.say(f"power-off {uid}")
    lines = sorted([daemon.hear(""), daemon.hear("")])
    assert lines[0].startswith(f"ended {uid} powered-off status=0")
    assert lines[1] == f"power-off {uid} ok"
    assert daemon.ask(f"pause {uid}").startswith(f"pause {uid} error 5 ")


def test_a_vm_outlives_its_daemon_and_is_found_again(daemon):
    uid = daemon.start("console", "echo")
    before = jails(daemon)
    console = Console(daemon, uid)
    console.socket.sendall(b"a")
    assert console.take(1) == b"a"
    assert daemon.again(uid) == [f"adopted {uid} running"]
    assert jails(daemon) == before
    # The console's connection was never the daemon's, and what was said before is kept.
    console.socket.sendall(b"b")
    assert console.take(1) == b"b"
    assert Console(daemon, uid).take(2) == b"ab"
    again = Console(daemon, uid, 1)
    assert (again.first, again.take(1)) == (1, b"b")
    console.socket.sendall(b"Q")
    assert f"ended {uid} guest-powered-off" in daemon.hear("ended")


def test_paused_before_the_daemon_dies_is_paused_after(daemon):
    uid = daemon.start("console", "echo")
    daemon.ask(f"pause {uid}")
    assert daemon.again(uid) == [f"adopted {uid} paused"]
    assert daemon.ask(f"resume {uid}").endswith("ok")


def test_who_ends_while_nobody_looks_is_known_with_status_and_reason(daemon):
    uid = daemon.start("console", "echo")
    before = time.clock_gettime_ns(CLOCK_OF_FILES)
    daemon.kill()
    Console(daemon, uid).socket.sendall(b"Q")
    wait_until(lambda: not jails(daemon), "the end of the VM")
    found, = daemon.again(uid)
    assert found.startswith(f"adopted {uid} ended guest-powered-off status=0 ")
    ended_at = int(found.split(" at=")[1].split()[0])
    assert before <= ended_at <= time.time_ns()
    # Until it is released it is told again.
    assert daemon.again(uid) == [found]


@pytest.mark.parametrize("guest, words, cause, reason", [
    ("faults", ["triple"], "triple-fault", "triple fault before the guest came up"),
    ("faults", ["nothing"], "crashed", "vCPU 0"),
    ("power", ["reset", "on-reboot=exit"], "guest-rebooted", "rebooted"),
])
def test_why_it_ended_is_in_the_record(daemon, guest, words, cause, reason):
    uid = daemon.start(guest, *words)
    line = daemon.hear(f"ended {uid} {cause} ")
    assert reason in line
    found, = daemon.again(uid)
    assert found == f"adopted {uid} {line[len('ended ') + len(uid) + 1:]}".replace(uid, f"{uid} ended")


def test_vmm_killed_is_told_with_the_signal(daemon):
    uid = daemon.start("console", "echo")
    os.kill(child_of(child_of(jails(daemon)[uid])), signal.SIGKILL)
    assert "killed status=0 signal=9" in daemon.hear(f"ended {uid}")


def test_jail_killed_takes_the_vm_with_it(daemon):
    uid = daemon.start("console", "echo")
    jail = jails(daemon)[uid]
    vmm = child_of(child_of(jail))
    os.kill(jail, signal.SIGKILL)
    assert "jail was killed by signal 9" in daemon.hear(f"ended {uid} lost")
    wait_until(lambda: command(vmm) == [], "the end of gemel-vmm")


def test_keeper_killed_takes_the_vm_with_it(daemon):
    uid = daemon.start("console", "echo")
    os.kill(child_of(jails(daemon)[uid]), signal.SIGKILL)
    assert "killed status=0 signal=9" in daemon.hear(f"ended {uid}")


def test_jail_killed_while_nobody_looks_is_lost(daemon):
    uid = daemon.start("console", "echo")
    jail = jails(daemon)[uid]
    vmm = child_of(child_of(jail))
    daemon.kill()
    os.kill(jail, signal.SIGKILL)
    wait_until(lambda: command(vmm) == [], "the end of gemel-vmm")
    found, = daemon.again(uid)
    assert found.startswith(f"adopted {uid} ended lost ")


def test_a_vm_that_nobody_knows_is_ended_and_cleaned_away(daemon):
    known, stranger = daemon.start("console", "echo"), daemon.start("console", "echo")
    assert daemon.again(known) == [f"adopted {known} running",
                                   f"orphan {stranger}: its process was killed, its folder removed"]
    assert list(jails(daemon)) == [known]
    assert not daemon.folder(stranger).exists()


def test_a_stopped_vmm_is_powered_off_by_force(daemon):
    uid = daemon.start("console", "echo")
    os.kill(child_of(child_of(jails(daemon)[uid])), signal.SIGSTOP)
    daemon.say(f"power-off {uid}")
    lines = sorted([daemon.hear(""), daemon.hear("")])
    assert "powered-off status=0 signal=9" in lines[0] and "by force" in lines[0]


def test_what_is_wrong_is_said_and_leaves_nothing(daemon):
    uid = str(uuid.uuid4())
    line = daemon.ask(f"start {uid} /nonexistent", f"start {uid} error 5 ")
    assert "kernel: /nonexistent: No such file" in line
    empty = daemon.run_dir / "text"
    empty.write_text("no kernel at all\n" * 100)
    line = daemon.ask(f"start {uid} {empty}", f"start {uid} error 3 ")
    assert "kernel" in line
    assert not daemon.folder(uid).exists() and not jails(daemon)


def test_a_disk_of_another_vm_is_refused_until_that_has_ended(daemon, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    first = daemon.start("console", "echo", f"disk={disk}")
    second = str(uuid.uuid4())
    kernel = BUILD / "tests/guests/guest-console"
    line = daemon.ask(f"start {second} {kernel} echo disk={disk}", f"start {second} error ")
    assert str(disk) in line
    daemon.again(first)  # a lock is the VM's, not the daemon's
    daemon.ask(f"start {second} {kernel} echo disk={disk}", f"start {second} error ")
    daemon.ask(f"kill {first}")
    daemon.hear(f"ended {first} killed")
    daemon.ask(f"start {second} {kernel} echo disk={disk}", f"start {second} ok")


def test_counters_grow(daemon):
    uid = daemon.start("console", "echo")
    console = Console(daemon, uid)
    console.socket.sendall(b"x" * 100)
    console.take(100)
    words = dict(word.split("=", 1) for word in daemon.ask(f"statistics {uid}").split()[2:])
    assert int(words["vcpu_ns"]) > 0 and int(words["resident"]) > 1 << 20
    assert int(words["exit:port-write"]) >= 100


def test_a_second_daemon_takes_over_and_the_first_is_told(daemon):
    uid = daemon.start("console", "echo")
    second = Daemon(daemon.run_dir)
    second.say(f"adopt {uid}")
    assert second.hear("adopted") == f"adopted {uid} running"
    assert daemon.hear("unreachable").startswith(f"unreachable {uid} ")
    second.kill()
    wait_until(lambda: " running " in daemon.ask(f"info {uid}"), "the first to be back")


@pytest.mark.parametrize("after_ms", [0, 5, 10, 20, 40, 80, 160, 320])
def test_killed_in_the_middle_of_starts_loses_and_forgets_nothing(daemon, after_ms):
    kernel = BUILD / "tests/guests/guest-console"
    uids = [str(uuid.uuid4()) for _ in range(4)]
    daemon.say("\n".join(f"start {uid} {kernel} echo" for uid in uids))
    time.sleep(after_ms / 1000)  # the moment of the blow, not a wait for anything
    found = daemon.again(*uids)
    assert [line.split()[1] for line in found] == uids
    states = {line.split()[1]: line.split()[2] for line in found}
    assert set(states.values()) <= {"nothing", "running", "ended"}
    assert sorted(jails(daemon)) == sorted(uid for uid in uids if states[uid] == "running")
    for uid in uids:
        assert daemon.folder(uid).exists() == (states[uid] != "nothing")


BEFORE_EXEC = """
import os, socket, sys
folder, jail, vmm = sys.argv[1:]
os.makedirs(folder)
os.chdir(folder)  # a socket's path has 108 bytes
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("control.sock")
listener.listen()
print("bound", flush=True)
listener.accept()[0].close()  # the daemon has looked, and has found no jail
life, _ = os.pipe()
record = os.open("exit", os.O_WRONLY | os.O_CREAT)
for number, fd in enumerate([os.dup(fd) for fd in (listener.fileno(), life, record)], 3):
    os.dup2(fd, number)
os.execv(jail, ["gemel-jail", f"--vm={folder}", vmm, "--listen-fd=3", "--sandbox=default"])
"""


@pytest.mark.parametrize("expected", [True, False])
def test_jail_that_is_not_yet_in_exec_when_the_next_daemon_looks_is_found(tmp_path, expected):
    """As a child of a killed daemon is: it has its folder's socket, and no name."""
    uid = str(uuid.uuid4())
    (tmp_path / "vms").mkdir()
    child = subprocess.Popen(
        ["/usr/bin/python3", "-c", BEFORE_EXEC, tmp_path / "vms" / uid, BUILD / "jail/gemel-jail",
         BUILD / "vmm/process/gemel-vmm"], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout.readline() == b"bound\n"
    daemon = Daemon(tmp_path)
    daemon.say(f"adopt {uid if expected else ''}")
    # It was never configured: nothing is lost with it.
    assert daemon.hear("").startswith(f"adopted {uid} nothing" if expected else f"orphan {uid}")
    daemon.hear("adopt ok")
    child.wait(timeout=DEADLINE)
    wait_until(lambda: not jails(daemon) and not daemon.folder(uid).exists(), "its end")
    daemon.kill()


@needs_cgroup2
def test_limits_are_in_force_and_read_back_from_the_kernel(daemon):
    uid = daemon.start("console", "echo")
    group = CGROUPS / "gemel" / uid
    jail = jails(daemon)[uid]
    family = {jail, child_of(jail), child_of(child_of(jail))}
    # Beside them, where KVM has one, is a worker of its own for this VM.
    assert family <= set(map(int, (group / "cgroup.procs").read_text().split()))
    daemon.ask(f"set-limits {uid} 300 1500 {40 << 20}", f"set-limits {uid} ok")
    seen = dict(word.split("=", 1) for word in daemon.ask(f"limits {uid}").split()[2:])
    assert (seen["weight"], seen["cap"], seen["cpus"]) == ("300", "1500", "0")
    assert seen["cgroup"] == str(group) and seen["missing"] == ""
    assert (group / "cpu.weight").read_text() == "300\n"
    assert (group / "cpu.max").read_text() == "150000 100000\n"
    assert int(seen["memory"]) == int((group / "memory.max").read_text()) == 40 << 20
    assert daemon.again(uid) == [f"adopted {uid} running"]
    assert f"limits {uid} weight=300 cap=1500" in daemon.ask(f"limits {uid}")
    words = dict(word.split("=", 1) for word in daemon.ask(f"statistics {uid}").split()[2:])
    print("memory in use:", words["memory"], (group / "memory.stat").read_text())
    assert 1 << 20 < int(words["memory"]) < int(seen["memory"])
    daemon.ask(f"kill {uid}")
    daemon.hear(f"ended {uid} killed")
    assert not group.exists()


@needs_cgroup2
def test_a_vm_that_reaches_its_memory_limit_is_told_apart(daemon):
    uid = daemon.start("console", "echo")
    (CGROUPS / "gemel" / uid / "memory.max").write_text("1M")
    # Of the VM's process, or of the jail: the kernel chooses.
    assert "for want of memory" in daemon.hear(f"ended {uid} ")


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)
