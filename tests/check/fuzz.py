"""Runs every libFuzzer target of the asan build over its kept corpus.

The tree is not changed: new inputs go to the user's cache, where the next run starts from them; a
crashing input stays in build/check/ and is named.
"""

import concurrent.futures
import pathlib

import builds
import results
import shell

CORPUS = shell.ROOT / "tests/fuzz/corpus"


def run_all(seconds, log_folder):
    """One case a target."""
    outcome = results.Results()
    programs = builds.targets("asan", "tests/fuzz")
    with concurrent.futures.ThreadPoolExecutor(shell.JOBS) as pool:
        jobs = [pool.submit(_run_one, program, seconds, log_folder) for program in programs]
        for job in jobs:
            outcome.cases.append(job.result())
    return outcome


def _run_one(program, seconds, log_folder):
    name = program.name.removesuffix("_fuzz")
    log = pathlib.Path(log_folder) / f"fuzz-{name}.log"
    log.unlink(missing_ok=True)
    grown = shell.cache_dir(f"fuzz/{name}")
    kept = CORPUS / name
    command = [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={log.parent}/crash-{name}-", grown]
    if kept.is_dir():
        command.append(kept)
    status = shell.run(command, log, builds.environment("asan"), timeout=seconds * 4 + 120)
    if status == 0:
        return results.Case(f"fuzz.{name}", results.PASSED)
    return results.Case(f"fuzz.{name}", results.FAILED, shell.tail(log))
