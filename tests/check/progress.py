"""Which phases of `./check --long` have passed on this very commit: it takes longer than most machines
are left alone, so it goes on where it was interrupted. It is kept in build/, with the programs that a
phase leaves to others. A tree with changes begins anew.
"""

import json
import subprocess
import time

import results
import shell


class Progress:
    def __init__(self):
        commit, changes = (subprocess.run(["git", *words], cwd=shell.ROOT, capture_output=True,
                                          text=True, check=False).stdout.strip()
                           for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
        self.path = shell.LOGS / f"long-{commit}.json" if commit and not changes else None
        self.passed = {}
        if self.path and self.path.exists():
            self.passed = json.loads(self.path.read_text(encoding="utf-8"))

    def of(self, phase):
        """Its results and when they were had, or None."""
        kept = self.passed.get(phase)
        if kept is None:
            return None
        outcome = results.Results()
        outcome.cases = [results.Case(*case) for case in kept["cases"]]
        return outcome, kept["when"]

    def keep(self, phase, outcome):
        """What passed; the others are repeated."""
        if self.path is None or outcome.of(results.FAILED):
            return
        cases = [(case.name, case.outcome, case.detail) for case in outcome.cases]
        self.passed[phase] = {"when": time.strftime("%Y-%m-%d %H:%M"), "cases": cases}
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.passed), encoding="utf-8")
        beside.replace(self.path)
