"""Owners of a disk on a target with all of persistent reservations: LIO, in the emulated host."""

import pathlib

import conftest
import pytest

HERE = pathlib.Path(__file__).resolve().parent
TARGET = "iqn.2026-11.test:disk"
MODULES = ("configfs", "crc32c_generic", "libcrc32c", "target_core_mod", "target_core_file",
           "iscsi_target_mod")
TOOL = conftest.BUILD / "tests/integration/iscsi_tool"

pytestmark = pytest.mark.skipif(not TOOL.exists(), reason=f"{TOOL} is not built")


def test_owners_of_a_full_target_follow_each_other(host):
    host.run(["modprobe", "-a", *MODULES], cwd="/", check=True, timeout=conftest.TIMEOUT)
    host.run([str(HERE / "lio_target"), "/tmp/lio.img", TARGET], check=True, timeout=conftest.TIMEOUT)
    done = host.run([str(HERE / "lio_peer.py"), str(conftest.BUILD), TARGET],
                    timeout=conftest.TIMEOUT)
    assert done.stdout.decode().rstrip() == "ok", done.stdout.decode() + done.stderr.decode()
