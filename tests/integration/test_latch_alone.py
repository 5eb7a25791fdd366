"""That a VM latches is each thread's own doing: one alone, while all others stand still."""

import ctypes
import errno
import os
import pathlib
import time

import pytest
from test_latch import SILENT, Journal, Vm, expect_still, open_session, wait_past
from test_supervisor import Console, fixture_daemon, pytestmark, wait_until

__all__ = ["fixture_daemon", "pytestmark"]

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Held:
    """Threads of another process that stand still, each by itself, until the end of the block."""

    def __init__(self, threads):
        self.threads = list(threads)

    def __enter__(self):
        for thread in self.threads:
            ptrace(PTRACE_SEIZE, thread)
            ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WALL)
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            ptrace(PTRACE_DETACH, thread)


def ptrace(request, thread):
    if LIBC.ptrace(request, ctypes.c_long(thread), ctypes.c_void_p(0), ctypes.c_void_p(0)) != 0:
        error = ctypes.get_errno()
        if error == errno.EPERM:
            pytest.skip("NOT TESTED: this user may not stop threads one by one")
        raise OSError(error, os.strerror(error))


def test_vcpu_latches_alone_while_all_other_threads_stand_still(daemon, tmp_path):
    until = open_session(daemon, 1, 6000)
    journal = Journal(daemon, tmp_path, SILENT)
    wait_until(journal.written, "writes")
    threads = journal.threads()
    with Held(thread for name, thread in threads.items() if name != "vcpu-0"):
        wait_past(until)
        wait_until(lambda: state_of(threads["vcpu-0"]) == "S", "the vCPU's thread to rest")
        expect_still(journal)
    assert " session=1 " in journal.hear_quiet()


def test_vcpu_asks_before_each_access_while_all_other_threads_stand_still(daemon):
    open_session(daemon, 1)
    vm = Vm(daemon, "faults", "ports")
    # From here on it needs no lock that a thread could hold as it is stopped.
    Console(daemon, vm.uid).until(b"begin\n")
    with Held(thread for name, thread in vm.threads().items() if name != "vcpu-0"):
        before = vm.vcpu_ran_ns()
        wait_until(lambda: vm.vcpu_ran_ns() > before + 10_000_000, "the guest to run")
        daemon.ask("poison", "poison ok")
        wait_until(lambda: rests(vm), "the vCPU's thread to rest")
    assert " session=1 " in vm.hear_latched()


def rests(vm):
    before = vm.vcpu_ran_ns()
    time.sleep(0.3)
    return vm.vcpu_ran_ns() - before < 1_000_000


@pytest.mark.parametrize("engine", ["", "engine=sync"], ids=["io_uring", "sync"])
def test_disk_thread_holds_its_writes_while_all_other_threads_stand_still(daemon, tmp_path, engine):
    open_session(daemon, 1)
    journal = Journal(daemon, tmp_path, SILENT, *engine.split())
    wait_until(journal.written, "writes")
    threads = journal.threads()
    with Held(thread for name, thread in threads.items() if name not in ("vcpu-0", "blk0")):
        journal.daemon.ask("poison", "poison ok")
        # The guest knows nothing, and waits for an answer that does not come.
        wait_until(lambda: settled(journal), "the end of writing")
    assert " session=1 " in journal.hear_quiet()
    expect_still(journal)


def settled(journal):
    written = journal.written()
    time.sleep(0.3)
    return journal.written() == written


def state_of(thread):
    return pathlib.Path(f"/proc/{thread}/stat").read_text().rsplit(")", 1)[1].split()[0]
