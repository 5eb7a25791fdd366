"""clang-tidy over our own sources, not the tests; what is known to be clean is not read again.

A file is known to be clean if the configuration, the compiler's arguments, the file and every file
of ours that it includes are, byte for byte, what an earlier run found clean.
"""

import concurrent.futures
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


def run_all(log):
    """One case a source file."""
    outcome = results.Results()
    cache = shell.cache_dir("tidy")
    _forget_old(cache)
    database = builds.folder("asan")
    version = subprocess.run([TIDY, "--version"], check=True, capture_output=True).stdout
    base = version + (shell.ROOT / ".clang-tidy").read_bytes()
    includes = _includes(database)
    with concurrent.futures.ThreadPoolExecutor(shell.JOBS) as pool:
        for folder in YOUNG:
            outcome.add(f"tidy.{folder}", results.SKIPPED, "not yet: docs/STATUS.md, Next")
        jobs = [pool.submit(_check, entry, base, includes, cache, database, log)
                for entry in _entries(database)]
        for job in jobs:
            outcome.cases.append(job.result())
    return outcome


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
    command = re.sub(r" -O\d ", " -O2 ", entry["command"])  # however the build optimizes
    digest.update(command.replace(str(shell.ROOT), "").encode())
    ours = {file} | {path for path in includes.get(entry["output"], [])
                     if path.is_relative_to(shell.ROOT)}
    for path in sorted(ours):
        digest.update(f"{path.relative_to(shell.ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _check(pair, base, includes, cache, database, log):
    file, entry = pair
    name = f"tidy.{file.relative_to(shell.ROOT)}"
    stamp = cache / _key(entry, file, base, includes)
    if stamp.exists():
        stamp.touch()
        return results.Case(name, results.PASSED)
    own_log = log.with_name(f"tidy-{str(file.relative_to(shell.ROOT)).replace('/', '-')}.log")
    own_log.unlink(missing_ok=True)
    status = shell.run([TIDY, "--quiet", "-p", database, file], own_log, timeout=600)
    if status != 0:
        return results.Case(name, results.FAILED, _complaints(own_log))
    own_log.unlink()
    stamp.touch()
    return results.Case(name, results.PASSED)


def _complaints(log):
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(dict.fromkeys(line for line in lines if "error:" in line)) or shell.tail(log)


def _forget_old(cache):
    limit = time.time() - MAX_AGE_DAYS * 86400
    for stamp in pathlib.Path(cache).iterdir():
        if stamp.stat().st_mtime < limit:
            stamp.unlink(missing_ok=True)
