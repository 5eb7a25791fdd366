"""`gemel run --net user`: its gemel-slirp is there as long as the VM, and no longer."""

import errno
import os
import pathlib
import signal
import socket

import pytest
import test_run_cli
from test_run_cli import needs_kvm, wait_for

SLIRP = test_run_cli.BUILD / "helpers/slirp/gemel-slirp"
run_fixture = test_run_cli.run_fixture

pytestmark = pytest.mark.skipif(not SLIRP.exists(), reason=f"{SLIRP} is not built")


def helpers_of(process):
    """The gemel-slirp processes that a gemel has started."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = []
    for pid in children.read_text(encoding="ascii").split():
        if pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "gemel-slirp":
            found.append(int(pid))
    return found


def is_alive(pid):
    try:
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


@needs_kvm
def test_port_in_use_is_wrong_input(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run.refused("--net", f"user,hostfwd=tcp:127.0.0.1:{port}-:22") == (
            f"net: hostfwd: tcp:127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}")
    assert not run.requests()


@needs_kvm
def test_each_network_has_a_helper_that_ends_with_the_vm(run):
    process = run.start("--net", "user", "--net", "user,net=10.9.0.0/24", wish="hang")
    run.until_running()
    helpers = helpers_of(process)
    assert len(helpers) == 2
    process.send_signal(signal.SIGQUIT)
    process.send_signal(signal.SIGQUIT)
    process.communicate(timeout=test_run_cli.DEADLINE)
    assert not any(is_alive(pid) for pid in helpers)


@needs_kvm
def test_helper_ends_when_gemel_is_killed(run):
    process = run.start("--net", "user", wish="hang")
    run.until_running()
    helper, = helpers_of(process)
    process.kill()
    wait_for(lambda: not is_alive(helper), "the helper to end")


@needs_kvm
def test_vm_outlives_its_helper(run):
    process = run.start("--net", "user", wish="echo", stdin=test_run_cli.subprocess.PIPE)
    run.until_running()
    helper, = helpers_of(process)
    os.kill(helper, signal.SIGKILL)
    wait_for(lambda: not is_alive(helper), "the helper to end")
    out, err = process.communicate(b"still here\nexit\n", timeout=test_run_cli.DEADLINE)
    assert process.returncode == 0
    assert b"still here" in out
    assert f"net0: gemel-slirp (process {helper}) was killed by signal 9 (Killed): the link is down" \
        in err.decode()


@needs_kvm
def test_helper_has_nothing_of_ours(run):
    process = run.start("--net", "user", wish="hang")
    run.until_running()
    helper, = helpers_of(process)
    if os.geteuid() != 0:
        pytest.skip("only root may look")
    fds = {int(fd): os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd")}
    assert fds[0] == "/dev/null" and 1 not in fds
    assert fds[3].startswith("socket:")
    rest = {link for fd, link in fds.items() if fd > 3}
    assert rest <= {os.path.realpath("/etc/resolv.conf")}, fds


@needs_kvm
def test_without_its_program_the_network_is_refused(run):
    run.environment = lambda wish, plain=run.environment: dict(plain(wish), GEMEL_SLIRP="/nonexistent")
    status, _, err = run.run("--net", "user")
    assert status == 2
    assert "gemel-slirp: /nonexistent: No such file or directory" in err
