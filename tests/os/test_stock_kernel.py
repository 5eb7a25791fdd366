"""Debian's stock cloud kernel with a tiny initramfs."""

import datetime
import re

import images
import pytest


@pytest.mark.parametrize("profile", ["server", "micro"])
def test_one_cpu_has_clock_entropy_and_date_and_powers_off_with_0(run, profile):
    ended = run.tiny("machine", "--profile", profile, "--cpus", "1", "--memory", "256M")
    assert ended.status == 0, ended
    assert ended.says("cpus=1 "), ended
    assert ended.says("clock=kvm-clock|clock=tsc"), ended
    assert ended.says("rng=virtio_rng"), ended
    assert ended.says(f"year={datetime.datetime.now(datetime.timezone.utc).year}"), ended
    assert ended.says("done"), ended


@pytest.mark.parametrize("profile", ["server", "micro"])
def test_eight_cpus_and_memory_beyond_4_gib_are_seen(run, profile):
    ended = run.tiny("machine", "--profile", profile, "--cpus", "8", "--memory", "6G")
    assert ended.status == 0, ended
    assert ended.says("cpus=8 "), ended
    kib = int(re.search(r"memory=(\d+)", ended.console)[1])
    assert 5.5 * 2**20 < kib < 6 * 2**20, ended


def test_without_acpi_all_cpus_come_up(run):
    # Not the cloud kernel: it is built without CONFIG_X86_MPPARSE, and so has one CPU then. This
    # one is unpacked, and so enters by PVH.
    ended = run.tiny("reboot", "--profile", "micro", "--acpi", "off", "--cpus", "2",
                     "--on-reboot", "exit", cmdline="acpi=off", kernel=images.kernel().vmlinux)
    assert ended.status == 0, ended
    assert ended.says("cpus=2 "), ended


def test_reboot_with_on_reboot_exit_ends_with_0(run):
    ended = run.tiny("reboot", "--profile", "server", "--on-reboot", "exit")
    assert ended.status == 0, ended
    assert ended.console.count("guest: rebooting") == 1, ended


@pytest.mark.parametrize("profile", ["server", "micro"])
def test_reboot_resets_the_machine_and_its_disk(run, profile):
    disk = run.new_disk()
    ended = run.tiny("reboot-once", "--profile", profile, "--disk", f"path={disk}")
    assert ended.status == 0, ended
    assert ended.console.count("guest: first time") == 1, ended
    assert ended.console.count("guest: second time") == 1, ended


def test_panic_with_on_reboot_exit_ends(run):
    # panic=-1 is a reboot at once; without pvpanic nobody can tell it from one.
    ended = run.tiny("panic", "--profile", "micro", "--on-reboot", "exit")
    assert "Kernel panic" in ended.console or ended.says("panicking"), ended
    assert ended.status == 0, ended


def test_second_sigterm_switches_off_a_guest_that_ignores_the_button(run):
    # Without the kernel's button driver in the initramfs nobody listens to it.
    ended = run.tiny("wait", "--profile", "micro",
                     steps=["guest: waiting=signal:TERM", "once more=signal:TERM"])
    assert ended.status == 0, ended
