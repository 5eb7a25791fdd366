"""A daemon for a test, or for all tests of a file that leave it as they found it."""

import os
import time

import gemeld
import pytest

# Several pytests may share the tests, and must then have the same.
os.environ.setdefault("GEMEL_SIGKILL_SEED", str(time.time_ns() % 1_000_000))


@pytest.fixture(name="daemon")
def daemon_fixture(tmp_path):
    daemon = gemeld.Gemeld(tmp_path).start()
    yield daemon
    daemon.close()


needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                               reason="needs /dev/kvm: no guest can run")
