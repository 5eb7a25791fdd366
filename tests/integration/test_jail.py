"""gemel-jail with a hostile program in the place of gemel-vmm (jail_probe.cc)."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
# Copies: other users must be able to run them, and the tree may lie where they cannot go, in /root.
PLACE = tempfile.TemporaryDirectory(prefix="gemel-jail-")  # pylint: disable=consider-using-with
os.chmod(PLACE.name, 0o755)
JAIL = pathlib.Path(PLACE.name, "gemel-jail")
PROBE = pathlib.Path(PLACE.name, "jail_probe")
DEADLINE = int(os.environ.get("GEMEL_DEADLINE") or 30)
NOBODY = 65534
ROOT_USER = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT_USER, reason="needs root")

# Each must fail whoever started the jail, given user namespaces.
REFUSED = {
    "open=/etc/passwd": "ENOENT", "open=/proc/self/mem": "ENOENT", "open=/dev/kvm": "ENOENT",
    "create": "EROFS", "mount": "EPERM", "umount": "EPERM", "chroot": "EPERM",
    "sethostname": "EPERM", "ptrace-keeper": "EPERM", "read-keeper": "EPERM",
}


@pytest.fixture(autouse=True, scope="module")
def copies():
    shutil.copy(BUILD / "jail/gemel-jail", JAIL)
    shutil.copy(BUILD / "tests/integration/jail_probe", PROBE)


class Jail:
    """A running jail, with what `gemel run` would hold of it."""

    def __init__(self, *words, user=None, unshared=(), record_file=None, program=PROBE):
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, self.life = os.pipe()
        self.record, record = os.pipe()
        if record_file:
            os.close(record)
            record = os.open(record_file, os.O_WRONLY | os.O_CREAT)
        high = [os.dup2(fd, number) for fd, number in
                ((control.fileno(), 100), (life, 101), (record, 102))]

        def prepare():
            for number, fd in enumerate(high, 3):
                os.dup2(fd, number)
            os.open("/etc/passwd", os.O_RDONLY)  # something forgotten
            os.set_inheritable(6, True)
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
        self.process = subprocess.Popen([*unshared, JAIL, program, *words], stdout=subprocess.PIPE,
                                        stdin=subprocess.PIPE, close_fds=False,
                                        preexec_fn=prepare, text=True)
        for fd in (life, record, *high):
            os.close(fd)
        control.close()

    def end(self):
        """What the program printed, by its words, and the jail's exit record."""
        out, _ = self.process.communicate(timeout=DEADLINE)
        with os.fdopen(self.record, "rb", closefd=False) as file:
            seen = dict(line.split(": ", 1) for line in out.splitlines() if ": " in line)
            return seen, file.read().decode()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.life, self.record):
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture(name="jail")
def jail_fixture():
    jails = []

    def start(*words, **options):
        jails.append(Jail(*words, **options))
        return jails[-1]
    yield start
    for one in jails:
        one.close()


def facts_of(text):
    return dict(word.split("=", 1) for word in text.split(" "))


def children_of(pid):
    try:
        return [int(child) for child in
                pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)


def family_of(jail):
    """The keeper and the program, once they are there."""
    wait_for(lambda: any(children_of(child) for child in children_of(jail.process.pid)),
             "the program")
    keeper, = children_of(jail.process.pid)
    program, = children_of(keeper)
    wait_for(lambda: comm(program) == "jail-probe", "the exec")
    return keeper, program


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return None


def is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


USERS = [pytest.param(None, marks=needs_root, id="root"),
         pytest.param(NOBODY if ROOT_USER else None, id="unprivileged")]


@pytest.mark.parametrize("user", USERS)
def test_the_program_sees_nothing_and_may_nothing(jail, user):
    seen, record = jail("facts", "root-entries", "interfaces", *REFUSED, f"signal={os.getpid()}",
                        f"ptrace={os.getpid()}", user=user).end()
    if "user=0" not in " ".join(seen):
        pytest.skip("this host gives no user namespace")
    facts = facts_of(seen["facts"])
    assert (facts["caps"], facts["bounding"], facts["nnp"], facts["env"]) == ("0", "0", "1", "none")
    assert (facts["pid"], facts["ppid"]) == ("2", "1")
    assert facts["fds"] == "0;1;2;3;4;"
    assert (seen["root-entries"], seen["interfaces"]) == ("0", "1")  # "lo", which is down
    assert {word: seen[word] for word in REFUSED} == REFUSED
    assert seen[f"signal={os.getpid()}"] == "ESRCH"
    assert seen[f"ptrace={os.getpid()}"] == "ESRCH"
    assert record == "exit 0\n"


def test_without_a_jail_the_same_succeeds():
    """The attempts are real."""
    done = subprocess.run([PROBE, "open=/etc/passwd", "open=/proc/self/mem", "root-entries",
                           f"signal={os.getpid()}"], capture_output=True, text=True, check=True)
    seen = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert seen["open=/etc/passwd"] == seen["open=/proc/self/mem"] == "ok"
    assert seen[f"signal={os.getpid()}"] == "ok" and int(seen["root-entries"]) > 3


@needs_root
def test_each_vm_of_root_has_a_user_of_its_own(jail):
    users = {facts_of(jail("facts").end()[0]["facts"])["uid"] for _ in range(2)}
    assert len(users) == 2 and all(int(user) >= 0x70000000 for user in users)


@needs_root
def test_abstract_socket_of_the_host_is_out_of_reach(jail):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0gemel-test-jail")
        listener.listen()
        assert jail("abstract=gemel-test-jail").end()[0]["abstract=gemel-test-jail"] == "ECONNREFUSED"


def test_layers_are_told(jail):
    seen, _ = jail("x").end()
    words = next(word for word in seen if word.startswith("--jail="))
    assert [pair.split("=")[0] for pair in words.removeprefix("--jail=").split(",")] == [
        "user", "pid", "mount", "network", "ipc", "root", "own-user", "capabilities", "cgroup"]


def test_host_without_user_namespaces_still_runs_it(jail):
    if not ROOT_USER:
        pytest.skip("needs root to forbid them")
    limit = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\""
    unshared = ("unshare", "-Ur", "sh", "-c", limit)  # within one, so that the host is left alone
    seen, record = jail("facts", "root-entries", unshared=unshared).end()
    assert record == "exit 0\n"
    assert facts_of(seen["facts"])["caps"] == "0"
    assert seen["root-entries"] == "0"  # root of the outer namespace has the others
    assert any(word.startswith("--jail=user=28,pid=0,mount=0") for word in seen)


@needs_root
def test_root_without_user_namespaces_still_gives_its_vm_a_user(jail):
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\""
    # The second shell is root once more: only an exec by a user with a number makes it so.
    script = f"read go; exec sh -c '{forbid}' \"$0\" \"$@\""
    one = jail("facts", unshared=("unshare", "-U", "sh", "-c", script))
    own = os.readlink("/proc/self/ns/user")
    wait_for(lambda: os.readlink(f"/proc/{one.process.pid}/ns/user") != own, "a user namespace")
    for name in ("uid_map", "gid_map"):  # of all users, so that it is a host's own but for its name
        pathlib.Path(f"/proc/{one.process.pid}/{name}").write_text("0 0 4294967295")
    one.process.stdin.write("go\n")
    one.process.stdin.flush()
    seen, _ = one.end()
    facts = facts_of(seen["facts"])
    assert int(facts["uid"]) >= 0x70000000 and facts["groups"] == ""
    assert (facts["caps"], facts["bounding"]) == ("0", "0")
    assert any(word.startswith("--jail=user=28,") and "own-user=0" in word for word in seen)


# ---- how it ends ---------------------------------------------------------------------------------

def test_exit_status_is_passed_on(jail):
    one = jail("exit=7")
    assert one.end()[1] == "exit 7\n"
    assert one.process.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_signal_is_passed_on(jail, number):
    one = jail(f"die={int(number)}")
    assert one.end()[1] == f"signal {int(number)}\n"
    assert one.process.returncode == -number


def test_what_it_says_of_a_refused_call_is_recorded_printable(jail):
    one = jail("say=openat 257 vcpu-0\n", "die=31")
    assert one.end()[1] == "signal 31 openat 257 vcpu-0\n"
    assert jail("say=\x1b[31mx", "die=31").end()[1] == "signal 31 ?[31mx\n"
    assert len(jail("say=" + "x" * 4000, "die=31").end()[1]) < 100


def test_record_goes_to_a_file(jail, tmp_path):
    one = jail("exit=3", record_file=tmp_path / "record")
    one.process.wait(timeout=DEADLINE)
    assert (tmp_path / "record").read_text() == "exit 3\n"


def test_program_that_is_missing_is_named(jail):
    one = jail(program="/nope")
    assert one.end()[1] == "failed /nope: No such file or directory\n"
    assert one.process.returncode == 125


def test_orphans_of_the_program_end_with_it(jail):
    one = jail("orphan", "wait")

    def family():
        return [pid for keeper in children_of(one.process.pid) for pid in children_of(keeper)]
    wait_for(lambda: len(family()) == 2, "the orphan")
    left = family()
    one.process.terminate()
    one.process.wait(timeout=DEADLINE)
    assert all(is_gone(pid) for pid in left)


def test_program_cannot_end_its_keeper(jail):
    assert jail("signal-keeper", "exit=3").end()[1] == "exit 3\n"


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("who", ["outer", "keeper", "program"])
def test_whoever_is_killed_nobody_is_left(jail, who, user):
    one = jail("wait", user=user)
    family = dict(zip(("outer", "keeper", "program"), (one.process.pid, *family_of(one))))
    os.kill(family[who], signal.SIGKILL)
    assert one.process.wait(timeout=DEADLINE) == -signal.SIGKILL
    for pid in family.values():
        wait_for(lambda: is_gone(pid), "the end of all")


def test_closed_life_ends_a_program_that_does_not_listen(jail):
    one = jail("wait")
    family = family_of(one)
    os.close(one.life)
    assert one.process.wait(timeout=DEADLINE) == -signal.SIGKILL
    assert all(is_gone(pid) for pid in family)


def test_sigterm_ends_all_before_it_returns(jail):
    one = jail("wait")
    family = family_of(one)
    one.process.terminate()
    one.process.wait(timeout=DEADLINE)
    assert all(is_gone(pid) for pid in family)


@needs_root
def test_control_group_is_gone_afterwards(jail):
    one = jail("wait")
    family_of(one)
    places = [place / f"gemel-{one.process.pid}" for place in cgroups_of_ours()]
    if not any(place.exists() for place in places):
        pytest.skip("no cgroup v2 here")
    one.process.terminate()
    one.process.wait(timeout=DEADLINE)
    assert not any(place.exists() for place in places)


@needs_root
def test_control_group_of_a_killed_jail_is_swept_up_by_the_next(jail):
    killed = jail("wait")
    family = family_of(killed)
    places = [place / f"gemel-{killed.process.pid}" for place in cgroups_of_ours()]
    if not any(place.exists() for place in places):
        pytest.skip("no cgroup v2 here")
    killed.process.kill()
    killed.process.wait(timeout=DEADLINE)
    for pid in family:
        wait_for(lambda: is_gone(pid), "the end of all")
    jail("exit=0").end()
    assert not any(place.exists() for place in places)


def cgroups_of_ours():
    own = next((line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()
                if line.startswith("0::")), "/")
    return [pathlib.Path(mount + own) for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")]


@pytest.mark.parametrize("user", USERS)
def test_it_stays_small(jail, user):
    one = jail("wait", user=user)
    keeper, _ = family_of(one)
    for pid in (one.process.pid, keeper):
        # Counted; that of /proc/PID/status is an estimate, wrong by up to 128 KiB for each processor.
        counted = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        rss = next(line for line in counted.splitlines() if line.startswith("Rss:"))
        assert int(rss.split()[1]) < 300, rss
