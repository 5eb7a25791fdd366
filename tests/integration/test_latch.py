"""VMs of a cluster that stop by themselves (docs/FAILOVER.md, 'The latch'), with real guests."""

import os
import pathlib
import re
import signal
import struct
import time

import pytest
from test_supervisor import Console, child_of, fixture_daemon, jails, pytestmark, wait_until

__all__ = ["fixture_daemon", "pytestmark"]

SECTORS = 64
SILENT = "every=1000000000"  # the guest says nothing, and so leaves the processor for nothing
LEAD_US = 20_000  # vmm/fence/fence.h
SECONDS = 1_000_000


def number(line, key):
    return int(re.search(rf"\b{key}=(\d+)", line)[1])


def state(task):
    """A letter, as proc(5) has them."""
    return (task / "stat").read_text().rpartition(") ")[2][0]


def now_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Vm:
    """A VM with a fence."""

    def __init__(self, daemon, guest, *words, epoch=1):
        self.daemon = daemon
        self.uid = daemon.start(guest, f"epoch={epoch}", *words)

    def vmm(self):
        return child_of(child_of(jails(self.daemon)[self.uid]))

    def threads(self):
        """Numbers of gemel-vmm's threads, by name; without the kernel's that do I/O for them."""
        return {name: int(task.name)
                for task in pathlib.Path(f"/proc/{self.vmm()}/task").iterdir()
                if not (name := (task / "comm").read_text().strip()).startswith("iou-")}

    def stop(self):
        """SIGSTOP, and the kernel has stopped every thread: it takes them one by one."""
        os.kill(self.vmm(), signal.SIGSTOP)
        for task in pathlib.Path(f"/proc/{self.vmm()}/task").iterdir():
            if not (task / "comm").read_text().startswith("iou-"):
                wait_until(lambda at=task: state(at) == "T", f"{task} to stop")

    def vcpu_ran_ns(self):
        task = pathlib.Path(f"/proc/{self.vmm()}/task/{self.threads()['vcpu-0']}/schedstat")
        return int(task.read_text().split()[0])

    def resume_under(self, epoch):
        return self.daemon.ask(f"resume-under {self.uid} {epoch}", f"resume-under {self.uid} ")

    def hear_latched(self):
        return self.daemon.hear(f"latched {self.uid} ")

    def hear_quiet(self):
        """It has latched, and what was submitted before has ended."""
        while " in_flight=0 " not in (line := self.hear_latched()):
            pass
        return line


class Journal(Vm):
    """A VM whose guest appends records to a disk, and what it has acknowledged."""

    def __init__(self, daemon, folder, *words):
        self.disk = folder / "journal.img"
        if not self.disk.exists():
            self.disk.write_bytes(bytes(SECTORS * 512))
        super().__init__(daemon, "journal", f"disk={self.disk}", *words)
        self.console = Console(daemon, self.uid)
        self.text = b""

    def line(self):
        while b"\n" not in self.text:
            piece = self.console.socket.recv(65536)
            assert piece, "the console ended"
            self.text += piece
        line, self.text = self.text.split(b"\n", 1)
        return line.decode()

    def acknowledged(self, more=1):
        """Waits for so many further acknowledgements; the last one's number."""
        for _ in range(more):
            while not (line := self.line()).startswith("ack "):
                assert line.startswith("begin"), line
        return int(line[4:])

    def last_acknowledged(self):
        """Of all whole lines that have come and were not taken, without waiting; or 0."""
        self.console.socket.setblocking(False)
        try:
            while piece := self.console.socket.recv(65536):
                self.text += piece
        except BlockingIOError:
            pass
        self.console.socket.settimeout(60)
        whole, newline, self.text = self.text.rpartition(b"\n")
        return max((int(n) for n in re.findall(rb"ack (\d+)\n", whole + newline)), default=0)

    def written(self):
        """The highest number on the disk."""
        content = self.disk.read_bytes()
        return max(struct.unpack_from("<Q", content, at * 512)[0] for at in range(SECTORS))


def open_session(daemon, session, milliseconds=60_000):
    """Until when it lasts."""
    return number(daemon.ask(f"session {session} {milliseconds}", "session ok"), "until_us")


@pytest.fixture(name="journal", params=["", "engine=sync"], ids=["io_uring", "sync"])
def fixture_journal(daemon, tmp_path, request):
    open_session(daemon, 1)
    return Journal(daemon, tmp_path, *request.param.split())


def expect_still(journal):
    """Nothing is written or computed any more."""
    ran, written = journal.vcpu_ran_ns(), journal.written()
    for _ in range(3):
        time.sleep(0.1)
        assert journal.vcpu_ran_ns() - ran < 1_000_000  # it goes to sleep
        assert journal.written() == written


def poison(journal):
    journal.daemon.ask("poison", "poison ok")
    return journal.hear_quiet()


def wait_past(us):
    wait_until(lambda: now_us() > us, "the deadline")


def test_page_that_is_not_extended_latches_the_vm(daemon, tmp_path):
    until = open_session(daemon, 1, 6000)
    journal = Journal(daemon, tmp_path)
    journal.acknowledged()
    line = journal.hear_quiet()
    assert " session=1 epoch=1 latched=true in_flight=0 " in line
    assert number(line, "at_us") >= until - LEAD_US
    expect_still(journal)


def test_page_that_is_extended_lets_the_vm_run_on(daemon, tmp_path):
    until = open_session(daemon, 1, 6000)
    journal = Journal(daemon, tmp_path)
    daemon.ask("extend 60000", "extend ok")
    wait_past(until + SECONDS // 2)
    journal.last_acknowledged()
    journal.acknowledged(5)
    assert "latched=false" in daemon.ask(f"info {journal.uid}")


def test_poisoned_page_latches_long_before_its_deadline(journal):
    journal.acknowledged(20)
    assert "latched=true" in poison(journal)
    expect_still(journal)


def test_guest_that_never_leaves_the_processor_latches(daemon):
    until = open_session(daemon, 1, 6000)
    line = Vm(daemon, "faults", "spin", "cpus=2").hear_latched()
    assert number(line, "at_us") >= until - LEAD_US
    assert "in_flight=0" in line


def test_resumed_under_a_later_session_and_epoch_loses_and_repeats_nothing(journal):
    daemon, uid = journal.daemon, journal.uid
    last = journal.acknowledged(20)
    poison(journal)
    for session in range(2, 6):
        open_session(daemon, session)
        assert journal.resume_under(session).endswith("ok")
        assert f"session={session} epoch={session} latched=false" in daemon.ask(f"info {uid}")
        beyond = journal.written()
        while last <= beyond:
            assert journal.acknowledged() == last + 1
            last += 1
        poison(journal)
    written, content = journal.written(), journal.disk.read_bytes()
    for record in range(max(written - SECTORS + 1, 1), written + 1):
        assert struct.unpack_from("<Q", content, record % SECTORS * 512)[0] == record


def test_vm_that_has_not_latched_is_not_resumed(journal):
    open_session(journal.daemon, 2)
    assert "is not latched" in journal.resume_under(2)
    journal.acknowledged(5)


def test_latched_vm_obeys_nobody_but_who_renews_or_ends_it(journal):
    daemon, uid = journal.daemon, journal.uid
    poison(journal)
    assert "session 1.1 is over" in daemon.ask(f"reset {uid}")
    assert daemon.ask(f"pause {uid}").endswith("ok")
    assert "session 1.1 is over" in daemon.ask(f"resume {uid}")
    assert "session 1.1 is not later" in journal.resume_under(2)
    open_session(daemon, 2)
    assert "epoch 1.1 is not later" in journal.resume_under(1)
    daemon.ask("poison", "poison ok")
    assert "this session is over" in journal.resume_under(2)
    expect_still(journal)
    daemon.say(f"power-off {uid}")
    assert sorted([daemon.hear("").split()[0], daemon.hear("").split()[0]]) == ["ended", "power-off"]


def test_paused_vm_latches_and_stays_paused_when_renewed(journal):
    daemon, uid = journal.daemon, journal.uid
    journal.acknowledged()
    assert daemon.ask(f"pause {uid}").endswith("ok")
    assert "in_flight=0" in poison(journal)
    open_session(daemon, 2)
    assert journal.resume_under(2).endswith("ok")
    assert " paused " in daemon.ask(f"info {uid}")
    expect_still(journal)
    assert daemon.ask(f"resume {uid}").endswith("ok")
    journal.acknowledged()


def test_vmm_stopped_across_loss_and_regain_stays_latched(daemon, tmp_path):
    until = open_session(daemon, 1, 6000)
    journal = Journal(daemon, tmp_path)
    journal.acknowledged()
    journal.stop()
    written = journal.written()
    wait_past(until)
    daemon.ask("poison", "poison ok")
    open_session(daemon, 2)
    os.kill(journal.vmm(), signal.SIGCONT)
    assert " session=1 " in journal.hear_quiet()
    # What was submitted before the stop may have ended since; nothing was submitted after it.
    assert journal.written() <= written + 1
    expect_still(journal)
    assert journal.resume_under(2).endswith("ok")
    journal.last_acknowledged()
    journal.acknowledged(5)


def test_latch_is_known_to_the_next_daemon(journal):
    daemon, uid = journal.daemon, journal.uid
    journal.acknowledged()
    poison(journal)
    assert daemon.again(uid) == [f"adopted {uid} running"]
    assert "session=1 epoch=1 latched=true" in daemon.ask(f"info {uid}")
    expect_still(journal)
    open_session(daemon, 2)
    assert journal.resume_under(2).endswith("ok")
    journal.acknowledged(5)


def test_latch_in_the_middle_of_resets_is_survived(daemon):
    """A reset that has begun may end; the guest does not begin anew before it is resumed."""
    open_session(daemon, 1)
    vm = Vm(daemon, "power", "reset", "cpus=2")
    for session in range(2, 12):
        hear_past_others(daemon, f"was-reset {vm.uid}")
        daemon.say("poison")
        hear_past_others(daemon, f"latched {vm.uid} ")
        resets = number(ask_past_others(daemon, f"info {vm.uid}"), "resets")
        time.sleep(0.05)
        assert number(ask_past_others(daemon, f"info {vm.uid}"), "resets") <= resets + 1
        daemon.say(f"session {session} 60000")
        daemon.say(f"resume-under {vm.uid} {session}")
        assert hear_past_others(daemon, f"resume-under {vm.uid} ").endswith("ok")


def hear_past_others(daemon, start):
    while not (line := daemon.hear("")).startswith(start):
        pass
    return line


def ask_past_others(daemon, line):
    daemon.say(line)
    return hear_past_others(daemon, line + " ")
