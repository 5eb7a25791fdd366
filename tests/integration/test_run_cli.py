"""`gemel run` as its user meets it, in front of a fake gemel-vmm (fake_vmm.py)."""

import errno
import fcntl
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import termios
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"
FAKE_VMM = ROOT / "tests/integration/fake_vmm.py"
DEADLINE = 20

needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                               reason="gemel run opens /dev/kvm before it starts gemel-vmm")


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)


def default_signals():
    """The caller of the tests may be a background job, whose SIGINT is ignored."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def become_foreground():
    default_signals()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Run:
    """What every test of `gemel run` needs around it."""

    def __init__(self, folder):
        self.folder = folder
        self.kernel = folder / "kernel"
        self.kernel.write_bytes(b"\x7fELF")
        self.log = folder / "requests"
        self.started = []

    def environment(self, wish):
        return dict(os.environ, GEMEL_VMM=str(FAKE_VMM), FAKE_VMM=wish,
                    FAKE_VMM_LOG=str(self.log))

    def start(self, *arguments, wish="", kernel=True, **streams):
        # The fake is a script: an empty root has no interpreter for it.
        command = [str(GEMEL), "run", "--sandbox", "off"]
        if kernel:
            command += ["--kernel", str(self.kernel)]
        for stream in ("stdin", "stdout", "stderr"):
            streams.setdefault(stream, subprocess.DEVNULL if stream == "stdin" else subprocess.PIPE)
        streams.setdefault("preexec_fn", default_signals)
        process = subprocess.Popen([*command, *arguments], env=self.environment(wish),
                                   cwd=self.folder, **streams)
        self.started.append(process)
        return process

    def run(self, *arguments, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out.decode(), err.decode()

    def requests(self):
        return self.log.read_text().split() if self.log.exists() else []

    def refused(self, *arguments, **options):
        """The error line of a command that must refuse its input and leave nothing behind."""
        before = set(os.listdir(self.folder)) - {"requests"}
        status, out, err = self.run(*arguments, **options)
        assert (status, out) == (2, "")
        lines = err.splitlines()
        assert lines[0].startswith("error: ")
        assert all(line.startswith("  ") for line in lines[1:]) and len(lines) <= 2, err
        assert set(os.listdir(self.folder)) - {"requests"} == before
        return lines[0].removeprefix("error: ")

    def until_running(self):
        wait_for(lambda: "Start" in self.requests(), "the guest to be started")


@pytest.fixture(name="run")
def run_fixture(tmp_path):
    run = Run(tmp_path)
    yield run
    for process in run.started:
        if process.poll() is None:
            process.kill()
        process.wait()


# ---- wrong input ---------------------------------------------------------------------------------

def test_no_kernel_refused(run):
    assert run.refused(kernel=False) == "kernel: missing: --kernel FILE"


def test_missing_file_refused(run):
    assert run.refused("--initrd", "nope") == "initrd: nope: No such file or directory"
    assert run.refused("--disk", "path=nope") == "disk: nope: No such file or directory"


def test_empty_file_refused(run):
    (run.folder / "empty").touch()
    assert run.refused("--initrd", "empty") == "initrd: empty: empty"
    assert run.refused("--disk", "path=empty") == "disk: empty: empty"


def test_folder_refused(run):
    assert run.refused("--disk", "path=.") == "disk: .: a directory"
    assert run.refused("--initrd", ".") == "initrd: .: a directory"


def test_fifo_and_device_refused_without_waiting(run):
    os.mkfifo(run.folder / "fifo")
    assert run.refused("--initrd", "fifo") == "initrd: fifo: not a regular file"
    assert run.refused("--disk", "path=fifo") == (
        "disk: fifo: neither a regular file nor a block device")
    assert run.refused("--disk", "path=/dev/zero") == (
        "disk: /dev/zero: neither a regular file nor a block device")


def test_bad_sizes_and_numbers_refused(run):
    assert run.refused("--memory", "lots").startswith("memory: lots: not a size")
    assert run.refused("--memory", "1M") == "memory: 1M: less than the least, 16M"
    assert run.refused("--memory", "99999999999T").startswith("memory: 99999999999T: too large")
    assert run.refused("--cpus", "0") == "cpus: 0: not a number from 1 to 64"
    assert run.refused("--cpus", "200") == "cpus: 200: not a number from 1 to 64"
    assert run.refused("--timeout", "never").startswith("timeout: never: not a time")


def test_more_memory_than_the_host_refused(run):
    line = run.refused("--memory", "15T")
    assert line.startswith("memory: 15T: this host has ")


def test_unknown_keys_and_words_refused(run):
    assert run.refused("--disk", "path=kernel,readnoly=on").startswith(
        "disk: readnoly=on: unknown key; did you mean readonly?")
    assert run.refused("--serial", "tcp:1").startswith("serial: tcp:1: unknown")
    assert run.refused("--machine", "q35") == ("machine: q35: unknown; "
                                                  "profile server has server-1")
    assert run.refused("--memroy", "1G") == "--memroy: unknown option; did you mean --memory?"
    assert run.refused("--memory", "1G", "--memory", "2G") == "--memory: given more than once"
    assert run.refused("--memory") == "--memory: its value is missing"
    assert run.refused("surplus") == "surplus: an argument too many"


def test_control_characters_in_a_path_stay_on_one_line(run):
    assert run.refused("--initrd", "a\nb\x1b[31m").startswith("initrd: a\\x0ab\\x1b[31m: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_refused(run):
    (run.folder / "secret").write_bytes(b"x")
    (run.folder / "secret").chmod(0)
    assert run.refused("--initrd", "secret") == "initrd: secret: Permission denied"


def test_disk_in_use_refused(run):
    (run.folder / "disk").write_bytes(bytes(4096))
    line = run.refused("--disk", "path=disk", "--disk", "path=disk")
    assert line.startswith("disk: disk: in use by another process")


@needs_kvm
def test_bad_input_leaves_no_serial_file(run):
    run.refused("--serial", "file:log", "--disk", "path=nope")
    run.refused("--serial", "unix:socket", "--disk", "path=nope")
    assert run.refused("--serial", "file:log", wish="refuse=3:kernel: kernel: not a kernel") == (
        "kernel: kernel: not a kernel")
    run.refused("--serial", "unix:socket", wish="refuse=3:kernel: kernel: not a kernel")


@needs_kvm
def test_bad_input_leaves_an_old_serial_file_as_it_was(run):
    (run.folder / "log").write_text("old")
    run.refused("--serial", "file:log", wish="refuse=3:kernel: kernel: not a kernel")
    assert (run.folder / "log").read_text() == "old"


@needs_kvm
def test_serial_file_in_a_missing_folder_refused(run):
    assert run.refused("--serial", "file:a/b") == "serial: file:a/b: No such file or directory"


@needs_kvm
def test_serial_socket_in_use_refused(run):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run.folder / "s"))
        listener.listen()
        assert run.refused("--serial", "unix:s") == "serial: unix:s: in use by another process"
    assert run.refused("--serial", "unix:kernel") == (
        "serial: unix:kernel: exists and is not a socket")


def test_unknown_command_refused():
    done = subprocess.run([GEMEL, "rnu"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: rnu: unknown command; did you mean run?\n  see: gemel --help\n"


def test_help_begins_with_two_examples():
    for words in (["--help"], ["run", "--help"]):
        done = subprocess.run([GEMEL, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == ""
        lines = done.stdout.splitlines()
        assert lines[0] == "Examples:"
        assert lines[1].startswith("  gemel ") and lines[2].startswith("  gemel ")


# ---- how it ends ---------------------------------------------------------------------------------

@needs_kvm
def test_power_off_is_status_0(run):
    assert run.run(wish="print=hello\\n,off") == (0, "hello\n", "")


@needs_kvm
def test_crash_is_one_line_and_status_1(run):
    assert run.run("--name", "web", wish="crash") == (1, "", "error: web: triple fault\n")


@needs_kvm
def test_killed_vmm_is_one_line_and_status_1(run):
    status, out, err = run.run(wish="print=last words,die=SIGKILL")
    assert (status, out) == (1, "last words")
    assert err.startswith("error: vm: gemel-vmm (process ") and err.count("\n") == 1
    assert "killed by signal 9 (Killed)" in err


@needs_kvm
def test_missing_vmm_is_one_line(run):
    process = subprocess.run([GEMEL, "run", "--sandbox", "off", "--kernel", run.kernel],
                             capture_output=True, text=True, check=False,
                             env=dict(os.environ, GEMEL_VMM="/nope"))
    assert process.stderr == "error: gemel-vmm: /nope: No such file or directory\n"
    assert process.returncode == 1


@needs_kvm
def test_vmm_that_dies_after_power_off_is_status_1(run):
    status, _, err = run.run(wish="off,then-die=SIGABRT")
    assert status == 1 and "killed by signal 6" in err


@needs_kvm
def test_reader_that_never_reads_does_not_keep_a_signal_waiting(run):
    process = run.start(wish="flood=3000,off")
    wait_for(lambda: "Start" in run.requests(), "the guest")
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    wait_for(lambda: not pathlib.Path(f"/proc/{children[0]}").exists(), "the VMM to be reaped")
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 1


@needs_kvm
def test_closed_standard_descriptors_do_no_harm(run):
    done = subprocess.run(["/bin/sh", "-c", '"$0" run --sandbox off --kernel "$1" <&-', GEMEL, run.kernel],
                          env=run.environment("print=hello,off"), capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello", "")


@needs_kvm
def test_other_protocol_version_refused(run):
    status, _, err = run.run(wish="version=9")
    assert status == 1 and "version 9" in err and err.count("\n") == 1


@needs_kvm
def test_timeout_is_status_124(run):
    status, _, err = run.run("--timeout", "3s", wish="ignore-button")
    assert (status, err) == (124, "gemel: timeout: power off\n")
    assert run.requests()[-1] == "PowerOff"


@needs_kvm
def test_timeout_before_the_machine_runs_says_so(run):
    status, _, err = run.run("--timeout", "1ms", wish="ignore-button")
    assert (status, err) == (124, "gemel: timeout: killed before it ran\n")
    assert "Start" not in run.requests()


@needs_kvm
def test_hanging_vmm_is_killed_after_timeout(run):
    status, _, err = run.run("--timeout", "3s", wish="hang")
    assert status == 124 and "power off" in err


# ---- console -------------------------------------------------------------------------------------

@needs_kvm
def test_piped_output_is_complete_for_a_late_reader(run):
    process = run.start(wish="flood=20000,off")
    time.sleep(0.3)  # the pipes fill and everything waits
    assert process.poll() is None
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    lines = out.decode().splitlines()
    assert [line.split()[1] for line in lines] == [str(i) for i in range(20000)]


@needs_kvm
def test_output_to_a_file_is_complete(run):
    with open(run.folder / "out", "wb") as out:
        process = run.start(wish="flood=20000,off", stdout=out)
        process.wait(timeout=DEADLINE)
    assert (run.folder / "out").stat().st_size == 20000 * 64


@needs_kvm
def test_closed_stdout_does_not_end_the_guest(run):
    process = run.start(wish="flood=20000,off")
    process.stdout.close()
    assert process.wait(timeout=DEADLINE) == 0
    assert b"stdout is closed" in process.stderr.read()


@needs_kvm
def test_end_of_stdin_does_not_end_the_guest_nor_spin(run):
    process = run.start(wish="ignore-button")
    run.until_running()
    ticks = []
    for _ in range(2):
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks.append(int(fields[11]) + int(fields[12]))
        time.sleep(0.5)
    assert ticks[1] - ticks[0] <= 5  # of the 50 that a busy loop would take
    assert process.poll() is None


@needs_kvm
@pytest.mark.parametrize("kind", ["pipe", "file", "null"])
def test_stdin_reaches_the_guest_byte_by_byte(run, kind):
    text = bytes(range(256)) * 400 + b"exit"
    if kind == "pipe":
        process = run.start(wish="echo", stdin=subprocess.PIPE)
        out, _ = process.communicate(text, timeout=DEADLINE)
        assert out == text
    elif kind == "file":
        (run.folder / "in").write_bytes(text)
        with open(run.folder / "in", "rb") as stdin:
            process = run.start(wish="echo", stdin=stdin)
        out, _ = process.communicate(timeout=DEADLINE)
        assert out == text
    else:
        process = run.start(wish="echo")
        run.until_running()
        process.terminate()
    assert process.wait(timeout=DEADLINE) == 0


@needs_kvm
def test_serial_file_is_emptied_and_written(run):
    (run.folder / "log").write_text("something old and longer")
    assert run.run("--serial", "file:log", wish="print=new,off")[0] == 0
    assert (run.folder / "log").read_text() == "new"


@needs_kvm
def test_serial_pty_is_named_and_does_not_echo(run):
    process = run.start("--serial", "pty", wish="echo,ignore-button")
    line = process.stderr.readline().decode()
    assert line.startswith("gemel: serial: /dev/pts/")
    run.until_running()
    console = os.open(line.split()[-1], os.O_RDWR | os.O_NOCTTY)
    os.write(console, b"hello\n")
    assert os.read(console, 100) == b"hello\n"
    os.write(console, b"exit\n")
    assert process.wait(timeout=DEADLINE) == 0
    os.close(console)


@needs_kvm
def test_serial_socket_is_made_and_removed(run):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(run.folder / "s"))
    stale.close()
    process = run.start("--serial", "unix:s", wish="x")
    run.until_running()
    assert (run.folder / "s").stat().st_mode & 0o777 == 0o700
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 0
    assert not (run.folder / "s").exists()


# ---- signals -------------------------------------------------------------------------------------

@needs_kvm
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_is_the_power_button(run, number):
    process = run.start()
    run.until_running()
    process.send_signal(number)
    assert process.wait(timeout=DEADLINE) == 0
    assert run.requests()[-1] == "PowerButton"
    assert b"power button pressed; once more to power off" in process.stderr.read()


@needs_kvm
def test_ignored_hangup_stays_ignored(run):
    def nohup():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = run.start(preexec_fn=nohup)
    run.until_running()
    process.send_signal(signal.SIGHUP)
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 0
    assert process.stderr.read().count(b"power button") == 1


@needs_kvm
def test_second_signal_is_off(run):
    process = run.start(wish="ignore-button")
    run.until_running()
    process.terminate()
    wait_for(lambda: run.requests()[-1] == "PowerButton", "the power button")
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 0
    assert run.requests()[-1] == "PowerOff"


@needs_kvm
def test_third_signal_kills_a_hanging_vmm(run):
    process = run.start(wish="hang")
    run.until_running()
    for wanted in ("PowerButton", "PowerOff"):
        process.terminate()
        wait_for(lambda: run.requests()[-1] == wanted, wanted)
    process.terminate()
    assert process.wait(timeout=3) == 128 + signal.SIGTERM


@needs_kvm
def test_vmm_ends_with_a_killed_gemel(run):
    process = run.start()
    run.until_running()
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()

    def gone():
        return not any(pathlib.Path(f"/proc/{child}").exists() and "Z" not in pathlib.Path(
            f"/proc/{child}/stat").read_text().rsplit(")", 1)[1][:3] for child in children)
    wait_for(gone, "the end of gemel-vmm")


# ---- the terminal --------------------------------------------------------------------------------

class TerminalRun:
    """gemel run in the foreground of a terminal of its own, as under a shell."""

    def __init__(self, run, *arguments, wish=""):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = b""

        self.process = run.start(*arguments, wish=wish, stdin=slave, stdout=slave, stderr=slave,
                                 preexec_fn=become_foreground)
        self.run = run
        run.until_running()
        wait_for(self.is_raw, "raw mode")

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def is_restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def type(self, keys):
        os.write(self.master, keys)

    def read_until(self, text):
        def found():
            if select.select([self.master], [], [], 0)[0]:
                try:
                    self.seen += os.read(self.master, 4096)
                except OSError as error:
                    assert error.errno == errno.EIO
            return text in self.seen
        wait_for(found, text)

    def wait(self):
        return self.process.wait(timeout=DEADLINE)


@pytest.fixture(name="terminal")
def terminal_fixture(run):
    opened = []

    def start(*arguments, **options):
        opened.append(TerminalRun(run, *arguments, **options))
        return opened[-1]
    yield start
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        os.close(one.master)
        os.close(one.slave)


@needs_kvm
def test_keys_reach_the_guest_raw(terminal):
    console = terminal(wish="echo")
    console.type(b"\x03\x1a\x11exit\r")
    console.read_until(b"\x03\x1a\x11exit\r")
    assert console.wait() == 0
    assert console.is_restored()


@needs_kvm
def test_menu_quits(terminal):
    console = terminal(wish="ignore-button")
    console.type(b"\x1dq")
    assert console.wait() == 0
    assert console.is_restored()
    assert console.run.requests()[-1] == "PowerOff"


@needs_kvm
def test_menu_helps_resets_and_presses_the_button(terminal):
    console = terminal()
    console.type(b"\x1d?")
    console.read_until(b"Ctrl-] send it to the guest")
    console.type(b"\x1dr")
    wait_for(lambda: console.run.requests()[-1] == "Reset", "the reset")
    console.type(b"\x1dp")
    assert console.wait() == 0
    assert console.run.requests()[-1] == "PowerButton"


@needs_kvm
def test_menu_is_heard_while_the_guest_reads_nothing(terminal):
    console = terminal(wish="hang")
    fcntl.fcntl(console.master, fcntl.F_SETFL, os.O_NONBLOCK)
    sent = 0
    deadline = time.monotonic() + DEADLINE
    while sent < 200_000:  # more than the pipe and our block hold
        assert time.monotonic() < deadline
        try:
            sent += os.write(console.master, b"x" * 1000)
        except BlockingIOError:
            time.sleep(0.001)
        while select.select([console.master], [], [], 0)[0]:
            os.read(console.master, 4096)  # bells
    fcntl.fcntl(console.master, fcntl.F_SETFL, 0)
    console.type(b"\x1d?")
    console.read_until(b"Ctrl-] send it to the guest")


@needs_kvm
@pytest.mark.parametrize("wish", ["crash", "die=SIGSEGV", "print=x,off"])
def test_terminal_restored_whatever_ends_the_vmm(run, wish):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = run.start(wish=wish, stdin=slave, stdout=slave, stderr=slave,
                        preexec_fn=become_foreground)
    process.wait(timeout=DEADLINE)
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


@needs_kvm
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_terminal_restored_whatever_ends_gemel(terminal, number):
    console = terminal()
    console.process.send_signal(number)
    console.wait()
    wait_for(console.is_restored, "the terminal to be as before")


@needs_kvm
def test_terminal_restored_when_the_whole_group_is_killed(terminal):
    console = terminal()
    os.killpg(console.process.pid, signal.SIGKILL)
    console.wait()
    wait_for(console.is_restored, "the terminal to be as before")


@needs_kvm
def test_suspended_restores_and_continued_takes_back(terminal):
    console = terminal(wish="echo")
    console.process.send_signal(signal.SIGTSTP)
    wait_for(console.is_restored, "the terminal to be as before")
    stat = pathlib.Path(f"/proc/{console.process.pid}/stat")
    wait_for(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "the stop")
    console.process.send_signal(signal.SIGCONT)
    wait_for(console.is_raw, "raw mode")
    console.type(b"exit\r")
    assert console.wait() == 0
    assert console.is_restored()


@needs_kvm
def test_terminal_is_left_alone_without_console_on_stdio(run):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = run.start("--serial", "none", stdin=slave)
    run.until_running()
    assert termios.tcgetattr(slave) == before
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=DEADLINE) == 0
    os.close(master)
    os.close(slave)


@needs_kvm
def test_background_job_takes_the_terminal_only_in_the_foreground(run):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    # A little shell: it owns the terminal and starts gemel as a background job.
    script = ("import os, signal, subprocess, sys, time\n"
              "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
              "job = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.setpgid(0, 0))\n"
              "sys.stdin.readline()\n"
              "os.tcsetpgrp(0, job.pid)\n"
              "job.wait()\n")
    shell = subprocess.Popen(
        ["/usr/bin/python3", "-c", script, str(GEMEL), "run", "--sandbox", "off", "--kernel",
         str(run.kernel)],
        env=run.environment("echo"), stdin=slave, stdout=subprocess.DEVNULL,
        preexec_fn=become_foreground)
    run.started.append(shell)
    run.until_running()
    time.sleep(0.2)
    assert termios.tcgetattr(slave) == before
    os.write(master, b"fg\n")
    wait_for(lambda: not termios.tcgetattr(slave)[3] & termios.ICANON, "raw mode")
    os.write(master, b"exit\r")
    shell.wait(timeout=DEADLINE)
    os.close(master)
    os.close(slave)
