"""Runs the phases of ./check, prints what each took, and ends with the line of counts.

A phase is a function that returns Results; what it prints goes to build/check/<phase>.log.
"""

import argparse
import fcntl
import os
import pathlib
import resource
import signal
import sys
import time

import ahead
import builds
import fuzz
import progress
import results
import shell
import tidy

QUICK, LONG = "quick", "long"
STARTED_AGAIN = "an emulated host was started again"  # kvmhost.py says so


def main():
    options = parse_arguments()
    if options.list:
        print("\n".join(f"{name:12} {text}" for name, text, *_ in PHASES))
        return 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_by_signal)
    shell.LOGS.mkdir(parents=True, exist_ok=True)
    with open(shell.LOGS / "lock", "a+", encoding="utf-8") as lock:
        if not take(lock):
            print("check: another ./check runs in this tree; not started", file=sys.stderr)
            return 3
        if options.mode == LONG:
            builds.sanitized_optimization = 2
        try:
            return report(*run_phases(options))
        finally:
            ahead.end()


def end_by_signal(number, _):
    shell.end_all()
    sys.stdout.flush()
    os._exit(128 + number)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="check", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", dest="mode", action="store_const", const=QUICK)
    mode.add_argument("--long", dest="mode", action="store_const", const=LONG)
    parser.add_argument("--only", metavar="PHASE,...", help="only these phases")
    parser.add_argument("--list", action="store_true", help="name the phases and end")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else None
    if unknown := set(options.only or []) - {phase[0] for phase in PHASES}:
        parser.error(f"no phase {', '.join(sorted(unknown))}; --list names them")
    return options


def take(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def run_phases(options):
    """All results, and (phase, seconds, processor seconds, results) of each that ran."""
    everything, table = results.Results(), []
    so_far = progress.Progress() if options.mode == LONG else None
    for name, text, in_quick, function in PHASES:
        if options.only and name not in options.only:
            everything.add(name, results.SKIPPED, "left out by --only")
            continue
        if options.mode == QUICK and not in_quick and not options.only:
            everything.add(name, results.SKIPPED, f"left out by --quick: {text}")
            continue
        print(f"== {name}: {text}", flush=True)
        if so_far and (before := so_far.of(name)):
            print(f"   passed on this commit at {before[1]}: {before[0].line()}", flush=True)
            everything.extend(before[0])
            continue
        started, cpu = time.monotonic(), cpu_seconds()
        outcome = run_phase(name, function, options)
        if so_far:
            so_far.keep(name, outcome)
        table.append((name, time.monotonic() - started, cpu_seconds() - cpu, outcome))
        everything.extend(outcome)
        print(f"   {table[-1][1]:.0f} s: {outcome.line()}", flush=True)
        for case in outcome.of(results.FAILED):
            print(f"FAILED {case.name}\n{case.detail}\n", flush=True)
        for case in at_second_try(outcome):
            print(f"PASSED AT ITS SECOND TRY {case.name}; its first:\n{case.detail}\n", flush=True)
    return everything, table


def at_second_try(outcome):
    return [case for case in outcome.of(results.PASSED) if case.detail]


def cpu_seconds():
    """Processor time of all that we waited for: what a phase costs on a machine that is busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_phase(name, function, options):
    log = shell.LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    try:
        return function(log, options)
    except Exception as error:  # A phase that breaks is a failure of the check, not its end.
        outcome = results.Results()
        outcome.add(name, results.FAILED, f"{type(error).__name__}: {error}\n{shell.tail(log)}")
        return outcome


def report(everything, table):
    """Prints the tables and the last line; the exit status."""
    print("\nphase        seconds  of processor")
    for name, seconds, cpu, outcome in table:
        print(f"{name:12} {seconds:7.0f} {cpu:13.0f}   {outcome.line()}")
    print(f"{'all':12} {sum(row[1] for row in table):7.0f} {sum(row[2] for row in table):13.0f}")
    report_skipped(everything.of(results.SKIPPED))
    for case in at_second_try(everything):
        print(f"PASSED AT ITS SECOND TRY {case.name}")
    failed = everything.of(results.FAILED)
    for case in failed:
        print(f"FAILED {case.name}")
    print(f"logs are in {shell.LOGS}")
    print(everything.line(), flush=True)
    return 1 if failed or not everything.of(results.PASSED) else 0


def report_skipped(cases):
    """One line a reason; every name is in a file."""
    with open(shell.LOGS / "skipped", "w", encoding="utf-8") as names:
        names.writelines(f"{case.name}: {case.detail}\n" for case in cases)
    for detail in dict.fromkeys(case.detail for case in cases):
        same = [case.name for case in cases if case.detail == detail]
        more = f" and {len(same) - 1} more" if same[1:] else ""
        print(f"SKIPPED {same[0]}{more}: {detail}")


# The phases.


def build_release(log, options):
    outcome = builds.build("release", log)
    wanted = [name for name in builds.SANITIZED if name in (options.only or builds.SANITIZED)]
    if options.mode is None and wanted:
        ahead.begin(wanted)
    return outcome


def unit(log, options):
    outcome = builds.unit_tests("release", log, repeat=20 if options.mode == LONG else 1)
    # Those that need /dev/kvm: guests of a few instructions.
    outcome.extend(builds.unit_tests("release", log, suite="kvm"))
    return outcome


def cluster(log, options):
    """The rules of failover against all that can happen; one more fault at once when there is time.
    Then what makes them real, with three members of etcd."""
    if options.mode == LONG:
        os.environ["GEMEL_EXPLORER_FAULTS"] = "1"
        os.environ["GEMEL_NEMESIS_MIXTURES"] = "54"  # each of 20 times: an hour
    if options.mode == QUICK:
        os.environ["GEMEL_EXPLORER_QUICK"] = "1"
    outcome = builds.unit_tests("release", log, suite="cluster")
    text = builds.folder("release") / "meson-logs" / "testlog-release.txt"
    if text.exists():  # what was covered is the result, not only that it passed
        found = [line for line in text.read_text(encoding="utf-8", errors="replace").splitlines()
                 if " states, " in line]
        print("\n".join(f"   {line}" for line in found), flush=True)
    if options.mode == QUICK:
        outcome.add("tests/cluster", results.SKIPPED, "left out by --quick: real members of etcd")
        return outcome
    programs = log.with_name("cluster_programs.log")
    outcome.extend(pytest("tests/cluster", programs, timeout=1500, lanes=2))
    if options.mode == LONG:
        outcome.extend(pytest("tests/cluster", log.with_name("nemesis.log"), timeout=3600, repeat=19,
                              only="test_nemesis"))
    return outcome


def second_tries(options):
    """For a test that has failed on an emulated machine; `--long` is there to find such tests."""
    if options.mode == LONG:
        return {}
    return {"PYTEST_ADDOPTS": "-p second_try", "PYTHONPATH": shell.ROOT / "tests/check"}


def pytest(folder, log, timeout, repeat=1, only="", lanes=1, **variables):
    """Every test of a folder, or of its files and tests with `only` in their names; what is not there
    yet is said to be missing. Several lanes are for tests that wait most of the time: each takes whole
    files."""
    outcome = results.Results()
    if not any((shell.ROOT / folder).rglob("test_*.py")):
        outcome.add(folder, results.SKIPPED, "this folder has no test yet")
        return outcome
    env = shell.environment(GEMEL_BUILD=builds.folder("release"), **variables)
    for turn in range(1, repeat + 1):
        junit = log.with_suffix(f".{turn}.xml")
        junit.unlink(missing_ok=True)
        command = ["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                   "--junitxml", junit, "-k", only, folder]
        command += ["-n", lanes, "--dist", "loadfile"] if lanes > 1 else []
        status = shell.run(command, log, env, timeout=timeout)
        failed = len(outcome.of(results.FAILED))
        results.read_junit(junit, outcome)
        if status not in (0, 5) and len(outcome.of(results.FAILED)) == failed:
            outcome.add(f"{folder}.pytest", results.FAILED, shell.tail(log))
    return outcome


def say_of_hosts(log):
    """That an emulated host had to be started again fails no test, and is not kept silent either."""
    if log.exists():
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in dict.fromkeys(line for line in text.splitlines() if STARTED_AGAIN in line):
            print(f"   {line.strip()}", flush=True)


def style(log, _):
    return pytest("tests/style", log, timeout=900)


def integration(log, options):
    return pytest("tests/integration", log, timeout=900, repeat=5 if options.mode == LONG else 1, lanes=6)


def api(log, options):
    if options.mode != LONG:
        return pytest("tests/api", log, timeout=1200, lanes=4, GEMEL_SIGKILL_ROUNDS="20")
    return pytest("tests/api", log, timeout=8 * 3600, GEMEL_SIGKILL_ROUNDS="500",
                  GEMEL_LOAD_DEFINED="500", GEMEL_LOAD_GUESTS="100", GEMEL_LOAD_CALLS="100",
                  GEMEL_LIFE_ROUNDS="10000")


def kvmhost(log, options):
    outcome = pytest("tests/kvmhost", log, timeout=1200, repeat=3 if options.mode == LONG else 1,
                     **second_tries(options))
    say_of_hosts(log)
    return outcome


def os_guests(log, options):
    """On two lanes: most guests have one processor."""
    outcome, lanes = results.Results(), 2
    env = shell.environment(GEMEL_BUILD=builds.folder("release"), **second_tries(options))
    for turn in range(1, 6 if options.mode == LONG else 2):
        report = log.with_suffix(f".{turn}")
        reports = [pathlib.Path(f"{report}.{lane}.xml") for lane in range(1, lanes + 1)]
        for path in reports:
            path.unlink(missing_ok=True)
        status = shell.run(["tests/os/side_by_side", "--lanes", lanes, report], log, env, timeout=3600)
        for path in reports:
            results.read_junit(path, outcome)
        if status != 0 and not outcome.of(results.FAILED):
            outcome.add("tests/os.side_by_side", results.FAILED, shell.tail(log))
    say_of_hosts(log)
    return outcome


def hosts(log, options):
    """One row of their table after the other; `--long` has all rows, again and again."""
    rounds, which = (5, ".") if options.mode == LONG else (1, "")
    outcome = pytest("tests/hosts", log, timeout=2 * 3600, repeat=rounds, GEMEL_HOST_NEMESES=which,
                     **second_tries(options))
    say_of_hosts(log)
    return outcome


def sanitized(name, log):
    ahead.end()
    return builds.build(name, log, **builds.SANITIZED[name])


def asan(log, options):
    outcome = sanitized("asan", log)
    if not outcome.of(results.FAILED):
        outcome.extend(builds.unit_tests("asan", log, repeat=5 if options.mode == LONG else 1))
    return outcome


def tsan(log, options):
    outcome = sanitized("tsan", log)
    for program in builds.NOT_UNDER_TSAN:
        outcome.add(f"tsan.{program}", results.SKIPPED, "builds.py says why")
    for program in sorted({*builds.of_one_thread()} - {*builds.NOT_UNDER_TSAN}):
        outcome.add(f"tsan.{program}", results.SKIPPED, "it begins no thread")
    if not outcome.of(results.FAILED):
        outcome.extend(builds.unit_tests("tsan", log, repeat=20 if options.mode == LONG else 1))
    return outcome


def fuzzers(log, options):
    outcome = fuzz.run_all(300 if options.mode == LONG else 10, log.parent)
    if not outcome.cases:
        outcome.add("fuzz", results.SKIPPED, "tests/fuzz has no target yet")
    return outcome


def clang_tidy(log, _):
    if not (builds.folder("release") / "compile_commands.json").exists():
        builds.configure("release", log)
    return tidy.run_all(log)


# name, what it does, whether --quick has it, function
PHASES = (
    ("build", "release build with g++, benchmarks too", True, build_release),
    ("unit", "unit tests of the release build", True, unit),
    ("cluster", "failover: every state of its rules; real members of etcd", True, cluster),
    ("style", "layering, static linking, headers, words", True, style),
    ("integration", "whole programs on this machine", True, integration),
    ("api", "gemeld through its API, killed at random too", True, api),
    ("asan", "clang build with ASan, UBSan, -Wthread-safety; its unit tests", False, asan),
    ("tsan", "clang build with TSan; its unit tests", False, tsan),
    ("fuzz", "every fuzzer over its kept corpus", False, fuzzers),
    ("tidy", "clang-tidy over our sources", False, clang_tidy),
    ("kvmhost", "the emulated KVM host itself", False, kvmhost),
    ("os", "operating systems as guests, in the emulated KVM host", False, os_guests),
    ("hosts", "failover of whole hosts: a cluster of emulated ones", False, hosts),
)

if __name__ == "__main__":
    os.environ.setdefault("LANG", "C.UTF-8")
    sys.exit(main())
