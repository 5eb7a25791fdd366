"""Where things are, and running commands with their output in a log file."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LOGS = BUILD / "check"
JOBS = min(os.cpu_count() or 1, 8)


def cache_dir(name):
    """A folder of ours in the user's cache, as tests/kvmhost has one."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(os.environ.get("GEMEL_CACHE") or pathlib.Path(base) / "gemel") / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def environment(**more):
    """The caller's, with what makes the compiler cache work between clones."""
    env = dict(os.environ, CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1",
               PYTHONDONTWRITEBYTECODE="1")
    # Debian's libraries, whatever the caller's shell points at.
    for name in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "PYTHONPATH"):
        env.pop(name, None)
    return env | {name: str(value) for name, value in more.items()}


_running, _running_lock = set(), threading.Lock()


def end_all():
    """Ends every command that run() has running. For a signal handler: it takes no lock."""
    groups = [process.pid for process in tuple(_running)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
        end = time.monotonic() + 20
        while any(map(_alive, groups)) and time.monotonic() < end:
            time.sleep(0.05)


def _alive(pid):
    """Whether the process runs; one that is over and not yet waited for does not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def run(argv, log, env=None, cwd=ROOT, timeout=None):
    """The exit status of argv, all its output appended to the file `log`; 124 at the timeout.

    It gets a process group of its own, which is gone when this returns.
    """
    process = begin(argv, log, env, cwd)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        with open(log, "a", encoding="utf-8") as output:
            output.write(f"check: no end after {timeout} s\n")
        return 124
    finally:
        end(process)


def begin(argv, log, env=None, cwd=ROOT):
    """As run(), without waiting: end() must follow."""
    log = pathlib.Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as output:
        output.write(f"$ {' '.join(map(str, argv))}\n")
        output.flush()
        process = subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, env=env or environment(), cwd=cwd, start_new_session=True)
    with _running_lock:
        _running.add(process)
    return process


def end(process):
    """What begin() began, and all that it has begun in its turn, has ended when this returns."""
    _end_group(process)
    with _running_lock:
        _running.discard(process)


def _end_group(process):
    """SIGTERM, so that a test can tidy up, then SIGKILL; nothing when the group is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        _wait(process, 20 if process.poll() is None else 0.2)
    process.wait()


def _wait(process, seconds):
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)


def tail(log, lines=40):
    try:
        text = pathlib.Path(log).read_text(errors="replace")
    except OSError as error:
        return str(error)
    return "\n".join(text.splitlines()[-lines:])
