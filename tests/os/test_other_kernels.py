"""Kernels that are not Linux, as Debian packages them (docs/KERNELS.md)."""

import pytest


@pytest.mark.parametrize("profile", ["server"])
def test_memtest86_finds_processors_and_memory_and_no_error(run, profile):
    # The power button is nothing to it, so it is switched off in its first test, which takes an
    # emulated host many minutes.
    ended = run("--profile", profile, "--kernel", run.debian / "memtest86+x64.bin", "--cpus", "2",
                "--memory", "64M", "--cmdline", "console=ttyS0,115200",
                steps=[r"\[60MB of 63\.6MB\]=signal:QUIT"])
    assert ended.status == 0, ended
    assert "CPU: 2 Cores 2 Threads    SMP: 2T" in ended.console, ended
    assert "Errors: 0 " in ended.console and "Errors: 1" not in ended.console, ended
