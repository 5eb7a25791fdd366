"""The builds that ./check makes, and the unit tests in them.

release: g++, what users get. asan: clang with ASan, UBSan, libFuzzer and -Wthread-safety; its unit
tests are the sanitized ones. tsan: clang with TSan.
"""

import json
import pathlib
import shutil
import subprocess

import results
import shell

CLANG = {"CC": "ccache clang-19", "CXX": "ccache clang++-19"}
OPTIONS = {
    "release": ["-Dbench=true"],
    "asan": ["-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"],
    "tsan": ["-Db_sanitize=thread", "-Db_lundef=false"],
}
# Under ASan and UBSan they are. The client's words have one thread, and their gRPC takes clang three minutes.
# A server of Debian's gRPC, whose locks TSan does not see, has races within that alone, a hundred a second.
NOT_UNDER_TSAN = ("client_test", "server_tls_test")
# What a program that begins a thread takes from the C library, by itself or through Debian's libraries.
BEGIN_THREADS = ("pthread_create", "_ZNSt6thread15_M_start_thread")
# The programs of these folders but for some, and of what they are made: how build() is called for it.
SANITIZED = {
    "asan": {"under": ["tests/unit", "tests/guests", "tests/fuzz"]},
    "tsan": {"under": ["tests/unit", "tests/guests"], "without": NOT_UNDER_TSAN, "threads": True},
}
# What the sanitized builds are made with: most of clang's time goes into optimizing gRPC's templates, and the
# tests need seconds either way. --long, whose fuzzers run for hours, has 2.
sanitized_optimization = 0
# Files of one target are read as one: most of what is left of clang's time went into their headers, again and
# again. A report names functions and lines, for which clang writes less than for a debugger.
SANITIZED_LESS = ("--unity=on", "--unity-size=8", "-Ddebug=false", "-Dcpp_args=-gline-tables-only")
# gtest is not built with ASan, so it cannot tell it about vectors that both sides touch.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_container_overflow=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def folder(name):
    return shell.BUILD / name


def environment(name):
    clang = {} if name == "release" else CLANG
    return shell.environment(**clang, **SANITIZERS)


def configure(name, log):
    """Whether Meson could set the build up; starts afresh when an older one does not fit."""
    build, env = folder(name), environment(name)
    setup = ["meson", "setup", build, "-Dtests=true", *OPTIONS[name]]
    if name != "release":
        setup += [f"-Doptimization={sanitized_optimization}", *SANITIZED_LESS]
    if (build / "build.ninja").exists():
        if shell.run([*setup, "--reconfigure"], log, env) == 0:
            return True
        shutil.rmtree(build)
    return shell.run(setup, log, env) == 0


def targets(name, under=""):
    """The files of all programs whose sources are under this folder of the tree."""
    text = subprocess.run(["meson", "introspect", "--targets", folder(name)], check=True,
                          capture_output=True, text=True, env=environment(name)).stdout
    return [pathlib.Path(target["filename"][0]) for target in json.loads(text)
            if target["type"] == "executable"
            and pathlib.Path(target["defined_in"]).is_relative_to(shell.ROOT / under)]


def compile_targets(name, files, log):
    """Whether these could be built; every target when files is None."""
    names = [] if files is None else [file.relative_to(folder(name)) for file in files]
    if files is not None and not names:
        return True
    ninja = ["ninja", "-C", folder(name), f"-j{shell.JOBS}", *names]
    return shell.run(ninja, log, environment(name)) == 0


def of_one_thread():
    """The unit tests' programs that begin no thread: TSan has nothing to see in them."""
    return [file.name for file in targets("release", "tests/unit") if not _begins_threads(file)]


def _begins_threads(program):
    needs = subprocess.run(["nm", "--dynamic", "--undefined-only", program], check=True,
                           capture_output=True, text=True).stdout
    return any(name in needs for name in BEGIN_THREADS)


def build(name, log, under=None, without=(), threads=False):
    """One case: whether the build works. `under`: only the programs of these folders, but for those
    called `without`, and, with `threads`, for tests of one thread."""
    outcome = results.Results()
    good = configure(name, log)
    if good:
        files = None
        if under is not None:
            without = {*without, *(of_one_thread() if threads else ())}
            files = [file for part in under for file in targets(name, part)
                     if file.name not in without]
        good = compile_targets(name, files, log)
    outcome.add(f"build.{name}", results.PASSED if good else results.FAILED,
                "" if good else shell.tail(log))
    return outcome


def unit_tests(name, log, repeat=1, suite="unit"):
    """Every GoogleTest case of this suite in this build."""
    outcome = results.Results()
    base = folder(name) / "meson-logs" / f"testlog-{name}"
    for suffix in (".json", ".junit.xml"):
        pathlib.Path(f"{base}{suffix}").unlink(missing_ok=True)
    # Meson wants nothing to run for a build that has no unit test yet.
    command = ["meson", "test", "-C", folder(name), "--no-rebuild", "--suite", suite,
               "--num-processes", shell.JOBS, "--logbase", f"testlog-{name}",
               "--print-errorlogs", "--repeat", repeat,
               "--timeout-multiplier", 1 if name == "release" else 4, *_built_tests(name)]
    status = shell.run(command, log, environment(name))
    results.read_junit(f"{base}.junit.xml", outcome, prefix=f"{name}:")
    _add_programs(f"{base}.json", name, outcome)
    if status != 0 and not outcome.of(results.FAILED):
        outcome.add(f"{name}:meson-test", results.FAILED, shell.tail(log))
    return outcome


def _built_tests(name):
    """The names of the tests whose programs are there."""
    text = subprocess.run(["meson", "introspect", "--tests", folder(name)], check=True,
                          capture_output=True, text=True, env=environment(name)).stdout
    return sorted({test["name"] for test in json.loads(text)
                   if pathlib.Path(test["cmd"][0]).exists()})


def _add_programs(path, name, outcome):
    """Adds programs that ended badly: one that crashed has no case of its own to say so."""
    try:
        lines = pathlib.Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        test = json.loads(line)
        if test.get("result") not in ("OK", "SKIP"):
            detail = (test.get("stdout", "") + test.get("stderr", ""))[-4000:]
            outcome.add(f"{name}:program.{test['name']}", results.FAILED,
                        f"{test.get('result')}: {detail}")
