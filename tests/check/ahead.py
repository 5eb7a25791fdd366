"""Compiles what later phases want while earlier ones wait, with what these leave of the processors.

Nothing depends on it. The phases make their builds themselves and find done what was done here; whoever
needs the processors ends it.
"""

import contextlib
import os
import pathlib
import signal
import sys

import builds
import shell

_process = None


def begin(names):
    """Compiles these of builds.SANITIZED in the background, one after the other. end() must follow."""
    global _process
    # SCHED_IDLE: what waits for an event gets the processor at once, as if this were not there.
    argv = ["chrt", "--idle", "0", sys.executable, "-B", __file__, *names]
    _process = shell.begin(argv, shell.LOGS / "ahead.log")
    # Where sessions are groups of the scheduler (sched(7), autogroup), that holds within ours alone.
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/{_process.pid}/autogroup").write_text("19", encoding="ascii")


def end():
    """Harmless when nothing was begun."""
    global _process
    if _process is not None:
        shell.end(_process)
        _process = None


def _end_by_signal(number, _):
    shell.end_all()
    os._exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end_by_signal)
    for wanted in sys.argv[1:]:
        builds.build(wanted, shell.LOGS / f"ahead-{wanted}.log", **builds.SANITIZED[wanted])
