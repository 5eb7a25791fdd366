"""A host of a lab that another process runs: what tests that share one need of it."""

import os
import pathlib
import subprocess

CTL = pathlib.Path(__file__).resolve().parent / "ctl"


class RemoteHost:
    """Commands go through ctl; Host has the same method."""

    def __init__(self, lab, node=1):
        self._words = [str(CTL), lab, "run", str(node), "--"]

    def run(self, argv, timeout=None, check=False, cwd=None, env=None):
        """As Host.run; what else ctl may fail of is status 125 with the reason in stderr."""
        variables = ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
        return subprocess.run([*self._words, *variables, *argv], capture_output=True, timeout=timeout,
                              check=check, cwd=cwd or os.getcwd())
