"""Everything that can befall two nodes and a witness, one row of nemesis_table.py a test, in namespaces.

Safety (one writer, nothing acknowledged lost, order kept: world.py) is asserted whatever the machine is
doing. That the guest notices nothing, or where it then runs, may be missed by a machine that is short of
processors: then the same is tried again. How long it took is printed, never asserted.
"""

import concurrent.futures
import os
import pathlib

import nemesis
import nemesis_table
import pytest

pytestmark = pytest.mark.skipif(
    not os.access("/dev/kvm", os.R_OK | os.W_OK) or os.geteuid() != 0,
    reason="/dev/kvm is missing or not ours, or we are not root: no guests in namespaces")

SIDE_BY_SIDE = 4  # they wait most of the time


@pytest.fixture(name="started", scope="module")
def started_fixture(request, tmp_path_factory):
    """All that was asked for, begun: name -> its outcome, in the future."""
    names = [item.callspec.params["row"].name for item in request.session.items
             if getattr(item, "module", None) is request.module]
    folder = tmp_path_factory.mktemp("nemesis")
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        started = {name: pool.submit(run, folder / str(i), name) for i, name in enumerate(names)}
        yield started
        for future in started.values():
            future.cancel()


def run(folder, name):
    return nemesis.outcome_of(nemesis.start(folder, name), name, folder), pathlib.Path(folder)


@pytest.mark.parametrize("row", nemesis_table.ROWS, ids=lambda row: row.name)
def test_nemesis(row, started, capsys):
    outcome, folder = started[row.name].result()
    with capsys.disabled():
        tries = f", {outcome.tries} tries: {outcome.missed}" if outcome.tries > 1 else ""
        print(f"\n   {row.name}: {outcome.seconds} s{tries}", end="")
    assert not outcome.wrong, f"{outcome.wrong}; logs in {folder}"
    assert not outcome.missed, f"{outcome.missed}; logs in {folder}"
