#!/usr/bin/python3
"""Runs one row of the table, in namespaces that end with it:

    nemesis.py FOLDER NAME    a row of nemesis_table.py, or "mixture SEED"

Prints what came of it as one line of JSON; what the programs logged is then in FOLDER.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import nemesis_random

NAMESPACES = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child",
              "--mount-proc", "--net", "--mount")
MUTATION = os.environ.get("GEMEL_MUTATION")  # a rule is missing: row after row, until something is wrong
MUTANT_TRIES = 8


@dataclasses.dataclass
class Outcome:
    name: str
    tries: int = 0
    seconds: list = dataclasses.field(default_factory=list)  # of each expectation, in the last try
    missed: str = ""  # what did not come, in the last try
    wrong: list = dataclasses.field(default_factory=list)  # what must never be, in any try

    def passed(self):
        return not self.missed and not self.wrong


def allowed(text):
    """"1" or "0-2", as a range."""
    low, _, high = text.partition("-")
    return range(int(low), int(high or low) + 1)


class Missed(Exception):
    pass


def expect(place, row, text, outcome):
    where, count = (text.split() + [""])[:2]
    begin = time.monotonic()
    found = place.settle("" if where == "nowhere" else where, row.within)
    outcome.seconds.append(round(time.monotonic() - begin, 2))
    if found is None:
        raise Missed(f"not {text}: {place.describe()}")
    if found != "nowhere":
        outcome.wrong += place.wrong_at(found)
    restarts = place.starts() - 1
    if count and restarts not in allowed(count):
        raise Missed(f"{text}: {restarts} restarts")


def run(place, row, outcome):
    try:
        place.begin()
        for step in row.steps:
            if step.startswith("→"):
                expect(place, row, step[1:], outcome)
            else:
                place.do(step)
    except (Missed, AssertionError, OSError, TimeoutError) as error:
        outcome.missed = f"{error}" if isinstance(error, Missed) else traceback.format_exc()
    outcome.wrong += place.wrong()


def keep_logs(folder, kept):
    for log in [*folder.rglob("*log*")]:
        if log.is_file():
            shutil.copy(log, kept / "-".join(log.relative_to(folder).parts))


def inside(folder, name):
    """In the namespaces."""
    import keeper  # needs a build
    import world
    row = nemesis_random.row(name)
    outcome = Outcome(name)
    work = pathlib.Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "nemesis", work], check=True)
    while outcome.tries < (MUTANT_TRIES if MUTATION else row.tries) and not outcome.wrong:
        outcome.tries += 1
        outcome.missed, outcome.seconds = "", []
        here = work / str(outcome.tries)
        here.mkdir()
        command = [keeper.BUILD / "tests/cluster/mutant_keeper"] if MUTATION else [keeper.PROGRAM]
        place = world.World(here, row.disk, keeper_command=command)
        run(place, row, outcome)
        if outcome.passed() and not MUTATION:
            break
        keep_logs(here, folder)
        place.close()
    return outcome


def start(folder, name, program=__file__, **variables):
    """A process in namespaces of its own that runs the row; outcome_of() reads what it prints. `program`: another
    that is told what this one is."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(["/usr/bin/python3", "-B", program, folder, name],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=open(folder / "stderr", "wb"), text=True,
                            env=dict(os.environ, **variables))


def outcome_of(process, name, folder):
    text, _ = process.communicate()
    try:
        return Outcome(**json.loads(text.splitlines()[-1]))
    except (IndexError, ValueError):
        said = (pathlib.Path(folder) / "stderr").read_text(encoding="utf-8", errors="replace")
        return Outcome(name, missed=f"it ended with {process.returncode}: {said[-2000:]}")


if __name__ == "__main__":
    if os.getpid() != 1:
        os.execvp(NAMESPACES[0], [*NAMESPACES, "/usr/bin/python3", "-B", *sys.argv])
    result = inside(pathlib.Path(sys.argv[1]), sys.argv[2])
    print(json.dumps(dataclasses.asdict(result)), flush=True)
    os._exit(0)  # everything else in these namespaces ends with it
