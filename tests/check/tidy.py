"""clang-tidy over our own sources, not the tests; what is known to be clean is not read again.

A file is known to be clean if the configuration, the compiler's arguments, the file and every file
of ours that it includes are, byte for byte, what an earlier run found clean.

Most of clang-tidy's time goes into headers, so the files of a library that must be read are read as one
first, which includes them all. If nothing is found in that, nothing is in any of them; else each is read
alone.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import pathlib
import re
import subprocess
import time

import builds
import results
import shell

TIDY = "clang-tidy-19"
# Not read yet (docs/STATUS.md, Next): with the headers of gRPC a file takes 7 to 21 s of processor,
# all of these together ten minutes of two processors.
YOUNG = ("grpc", "cli/client")
MAX_AGE_DAYS = 30
MOST_TOGETHER = 16
CLANG_WORDS = ("--extra-arg=-Wno-unknown-warning-option",)  # the commands are g++'s
# Of files that another includes, misc-use-internal-linkage says nothing, but these do; and to include a
# source is what is wanted here.
AS_ONE = ("--checks=-bugprone-suspicious-include",
          "--extra-arg=-Wmissing-prototypes", "--extra-arg=-Wmissing-variable-declarations")


def run_all(log):
    """One case a source file."""
    outcome = results.Results()
    cache = shell.cache_dir("tidy")
    _forget_old(cache)
    database = builds.folder("release")  # the sanitized builds read several files as one
    version = subprocess.run([TIDY, "--version"], check=True, capture_output=True).stdout
    base = version + (shell.ROOT / ".clang-tidy").read_bytes()
    includes = _includes(database)
    for folder in YOUNG:
        outcome.add(f"tidy.{folder}", results.SKIPPED, "not yet: docs/STATUS.md, Next")
    files = [File(path, entry, cache / _key(entry, path, base, includes))
             for path, entry in _entries(database)]
    with concurrent.futures.ThreadPoolExecutor(shell.JOBS) as pool:
        jobs = [pool.submit(_read_together, group, number, database, log)
                for number, group in enumerate(_groups([one for one in files if not one.known()]))]
        concurrent.futures.wait(jobs)
        jobs = [pool.submit(_check, one, database, log) for one in files]
        outcome.cases += [job.result() for job in jobs]
    return outcome


@dataclasses.dataclass
class File:
    path: pathlib.Path
    entry: dict  # of compile_commands.json
    stamp: pathlib.Path  # is there if it is known to be clean

    def known(self):
        return self.stamp.exists()


def _groups(files):
    """Files of one library, at most MOST_TOGETHER, since the compiler needs memory for them all."""
    libraries = {}
    for one in files:
        libraries.setdefault(pathlib.Path(one.entry["output"]).parent, []).append(one)
    return [several[at:at + MOST_TOGETHER] for several in libraries.values()
            for at in range(0, len(several), MOST_TOGETHER)]


def _read_together(group, number, database, log):
    """Their stamps, if nothing is wrong with them as one."""
    place = log.parent / "tidy" / str(number)
    place.mkdir(parents=True, exist_ok=True)
    group = _that_agree(group, place, database)
    if len(group) > 1 and _tidy_as_one(group, place, database, *AS_ONE, f"--header-filter={_ours()}"):
        for one in group:
            one.stamp.touch()


def _that_agree(group, place, database):
    """Those that can be read as one: two files may have the same names for themselves."""
    cheap = "--checks=-*,bugprone-sizeof-container"  # without a check it reads nothing
    while len(group) > 1 and not _tidy_as_one(group, place, database, cheap):
        wrong = re.search(r"^(/.*?):\d+:\d+: error: ", (place / "log").read_text(errors="replace"), re.M)
        left = [one for one in group if not wrong or str(one.path) != wrong[1]]
        group = left if len(left) < len(group) else []
    return group


def _tidy_as_one(group, place, database, *options):
    """Whether nothing was found; what was is in place/log."""
    together = place / "together.cc"
    together.write_text("".join(f'#include "{one.path}"\n' for one in group), encoding="utf-8")
    command = group[0].entry["command"].replace(group[0].entry["file"], str(together))
    (place / "compile_commands.json").write_text(
        json.dumps([{"directory": str(database), "file": str(together), "command": command}]),
        encoding="utf-8")
    (place / "log").unlink(missing_ok=True)
    command = [TIDY, "--quiet", "-p", place, *CLANG_WORDS, *options, together]
    return shell.run(command, place / "log", timeout=900) == 0


def _ours():
    """What is looked at: the headers that .clang-tidy names, and the sources."""
    headers = re.search(r"HeaderFilterRegex: '(.*)'", (shell.ROOT / ".clang-tidy").read_text())[1]
    return f"({headers}|^{re.escape(str(shell.ROOT))}/.*[.]cc$)"


def _entries(database):
    """The compile commands of our sources, each file once."""
    entries = {}
    for entry in json.loads((database / "compile_commands.json").read_text()):
        file = (database / entry["file"]).resolve()
        if not file.is_relative_to(shell.ROOT) or file.is_relative_to(shell.BUILD):
            continue
        place = file.relative_to(shell.ROOT)
        if place.parts[0] != "tests" and not any(place.is_relative_to(young) for young in YOUNG):
            entries.setdefault(file, entry)
    return sorted(entries.items())


def _includes(database):
    """For each object file, what it was made of, as Ninja recorded it."""
    text = subprocess.run(["ninja", "-C", database, "-t", "deps"], check=True,
                          capture_output=True, text=True).stdout
    includes, current = {}, []
    for line in text.splitlines():
        if line.startswith("    "):
            current.append((database / line.strip()).resolve())
        elif ": #deps" in line:
            current = includes.setdefault(line.split(": #deps")[0], [])
    return includes


def _key(entry, file, base, includes):
    """The hash that says what was checked, whatever folder the tree is in."""
    digest = hashlib.sha256(base)
    digest.update(entry["command"].replace(str(shell.ROOT), "").encode())
    ours = {file} | {path for path in includes.get(entry["output"], [])
                     if path.is_relative_to(shell.ROOT)}
    for path in sorted(ours):
        digest.update(f"{path.relative_to(shell.ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _check(one, database, log):
    name = f"tidy.{one.path.relative_to(shell.ROOT)}"
    if one.known():
        one.stamp.touch()
        return results.Case(name, results.PASSED)
    own_log = log.with_name(f"tidy-{str(one.path.relative_to(shell.ROOT)).replace('/', '-')}.log")
    own_log.unlink(missing_ok=True)
    status = shell.run([TIDY, "--quiet", "-p", database, *CLANG_WORDS, one.path], own_log, timeout=600)
    if status != 0:
        return results.Case(name, results.FAILED, _complaints(own_log))
    own_log.unlink()
    one.stamp.touch()
    return results.Case(name, results.PASSED)


def _complaints(log):
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(dict.fromkeys(line for line in lines if "error:" in line)) or shell.tail(log)


def _forget_old(cache):
    limit = time.time() - MAX_AGE_DAYS * 86400
    for stamp in pathlib.Path(cache).iterdir():
        if stamp.stat().st_mtime < limit:
            stamp.unlink(missing_ok=True)
