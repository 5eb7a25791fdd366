"""A Debian 12 as installed, in the micro profile: boots to a login prompt, keeps its files, obeys the
power button. (test_server.py has the server profile.)"""

from test_server import LOGIN, PRESS


def check_filesystem(run, disk):
    # What a clean shutdown left needs no repair and no journal replay.
    run.in_host("/usr/sbin/e2fsck", "-fn", disk)


def test_file_written_at_the_console_is_in_the_image(run):
    disk = run.debian_copy()
    ended = run.stock(disk, "--profile", "micro", "--cpus", "2", timeout=900, steps=[
        f"{LOGIN}=send:root", r"root@guest:~# =send:echo kept-$((40+2)) >/root/witness; sync",
        r"root@guest:~# =send:systemctl poweroff"])
    assert ended.status == 0, ended
    witness = run.in_host("/usr/sbin/debugfs", "-R", "cat /root/witness", disk)
    assert witness.strip() == "kept-42", ended
    check_filesystem(run, disk)


def test_sigterm_is_the_power_button(run):
    disk = run.debian_copy()
    ended = run.stock(disk, "--profile", "micro", timeout=900, steps=PRESS)
    assert ended.status == 0, ended
    assert "Power" in ended.console or "power" in ended.console, ended
    check_filesystem(run, disk)
