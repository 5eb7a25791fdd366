"""A Debian 12 as installed, in the micro profile: boots to a login prompt, keeps its files, obeys the
power button. (test_server.py has the server profile.) One boot for all of it: it takes a minute."""

from test_server import LOGIN, PROMPT


def test_file_is_in_the_image_after_sigterm_as_the_power_button(run):
    disk = run.debian_copy()
    ended = run.stock(disk, "--profile", "micro", "--cpus", "2", timeout=900, steps=[
        f"{LOGIN}=send:root", f"{PROMPT}=send:echo kept-$((40+2)) >/root/witness; sync",
        f"{PROMPT}=send:udevadm settle", f"{PROMPT}=signal:TERM"])
    assert ended.status == 0, ended
    assert "Power" in ended.console or "power" in ended.console, ended
    witness = run.in_host("/usr/sbin/debugfs", "-R", "cat /root/witness", disk)
    assert witness.strip() == "kept-42", ended
    # What a clean shutdown left needs no repair and no journal replay.
    run.in_host("/usr/sbin/e2fsck", "-fn", disk)
