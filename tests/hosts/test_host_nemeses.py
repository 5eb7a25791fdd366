"""What befalls whole hosts (host_table.py), one after the other in one cluster of emulated hosts.

Safety (one writer an epoch, nothing acknowledged lost, order kept: cluster_hosts.py) is asserted whatever
these slow hosts are doing. Where the machine then runs, and how often it began, may be missed by them: then
the same is tried again in a new cluster. How long it took is printed, never asserted.

GEMEL_HOST_NEMESES: a regular expression for their names; without it those that `./check` has each time.
"""

import os
import re
import traceback

import cluster_hosts
import host_table
import iscsi_target
import members
import nemesis
import pytest

missing = iscsi_target.missing()
pytestmark = [
    pytest.mark.skipif(missing is not None, reason=missing or ""),
    pytest.mark.skipif(members.ETCD is None,
                       reason="needs etcd: tests/check/unpack packaging/packages-unpacked.txt"),
    pytest.mark.skipif(not os.access("/dev/net/tun", os.R_OK | os.W_OK) or os.geteuid() != 0,
                       reason="/dev/net/tun is missing or not ours, or we are not root")]



def wanted(row):
    words = os.environ.get("GEMEL_HOST_NEMESES", "")
    return re.search(words, row.name) if words else row.every


ROWS = [row for row in host_table.ROWS if wanted(row)]


class Holder:
    """The cluster that rows share, until one goes wrong in it."""

    def __init__(self, factory):
        self.factory = factory
        self.cluster = None

    def get(self):
        if self.cluster is None:
            self.cluster = cluster_hosts.ClusterHosts(self.factory.mktemp("hosts"))
        return self.cluster

    def drop(self):
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None


@pytest.fixture(name="holder", scope="module")
def holder_fixture(tmp_path_factory):
    holder = Holder(tmp_path_factory)
    yield holder
    holder.drop()


def run(row, holder):
    outcome = nemesis.Outcome(row.name)
    while outcome.tries < row.tries and not outcome.wrong:
        outcome.tries += 1
        outcome.missed, outcome.seconds = "", []
        try:
            nemesis.run(holder.get(), row, outcome)
        except Exception:  # whatever an emulated host can fail of
            outcome.missed = traceback.format_exc()
        if outcome.passed():
            break
        print(f"{row.name}, try {outcome.tries}: {outcome.missed}")
        holder.drop()
    return outcome


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_nemesis_of_hosts(row, holder, capsys):
    outcome = run(row, holder)
    with capsys.disabled():
        tries = f", {outcome.tries} tries" if outcome.tries > 1 else ""
        print(f"\n   {row.name}: {outcome.seconds} s{tries}", end="")
    assert not outcome.wrong, f"{outcome.wrong}; {row}"
    assert not outcome.missed, f"{outcome.missed}; {row}"
