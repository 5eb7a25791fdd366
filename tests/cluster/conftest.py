"""Members of etcd and keepers for a test; etcd must be there (tests/check/unpack)."""

import os
import time

import keeper
import members
import pytest

# Several pytests may share the tests, and must then have the same.
os.environ.setdefault("GEMEL_NEMESIS_SEED", str(int(time.time())))


def pytest_collection_modifyitems(items):
    if members.ETCD is None:
        for item in items:
            item.add_marker(pytest.mark.skip(
                reason="needs etcd: tests/check/unpack packaging/packages-unpacked.txt"))


@pytest.fixture(name="etcd")
def etcd_fixture():
    etcd = members.Etcd().start()
    etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1))
    yield etcd
    etcd.close()


@pytest.fixture(name="node")
def node_fixture(etcd, tmp_path):
    """The keeper of node 1."""
    node = keeper.Keeper(tmp_path, etcd.endpoints()).start()
    yield node
    node.close()


@pytest.fixture(name="gemeld")
def gemeld_fixture(node):
    """A gemeld without machines."""
    gemeld = node.connect()
    yield gemeld
    gemeld.close()
