"""Where the parts are that these tests are made of."""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("hosts", "cluster", "integration", "kvmhost")]
