"""Everything that can befall two nodes and a witness, one row of nemesis_table.py a test, in namespaces.

Safety (one writer, nothing acknowledged lost, order kept: world.py) is asserted whatever the machine is
doing. That the guest notices nothing, or where it then runs, may be missed by a machine that is short of
processors: then the same is tried again. How long it took is printed, never asserted.
"""

import concurrent.futures
import os

import nemesis
import nemesis_random
import nemesis_table
import pytest
import shared_target
import throttle

pytestmark = pytest.mark.skipif(
    not all(os.access(device, os.R_OK | os.W_OK) for device in ("/dev/kvm", "/dev/fuse", "/dev/net/tun"))
    or os.geteuid() != 0,
    reason="/dev/kvm, /dev/fuse or /dev/net/tun is missing or not ours, or we are not root")

SIDE_BY_SIDE = 6  # they wait most of the time
# `./check` tries the same mixtures each time, so that what it says of a commit is the same each time;
# `--long` asks for more, and for others each time. A test's name is its seed.
MANY = os.environ.get("GEMEL_NEMESIS_MIXTURES")
FIRST = int(os.environ["GEMEL_NEMESIS_SEED"]) if MANY else 1
MIXTURES = [nemesis_random.mixture(seed) for seed in range(FIRST, FIRST + int(MANY or 6))]


@pytest.fixture(name="started", scope="module")
def started_fixture(request, tmp_path_factory):
    """All that was asked for, begun: name -> its outcome, in the future."""
    items = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    params = [item.callspec.params for item in items]
    names = [(words["row"].name, words.get("mutation")) for words in params]
    folder = tmp_path_factory.mktemp("nemesis")
    throttle.forget_old()
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        started = {name: pool.submit(run, folder / str(i), *name) for i, name in enumerate(names)}
        yield started
        for future in started.values():
            future.cancel()


def run(folder, name, mutation):
    variables = {"GEMEL_MUTATION": mutation} if mutation else {}
    return nemesis.outcome_of(nemesis.start(folder, name, **variables), name, folder), folder


def words(row):
    """With what stands in its way here."""
    missing = row.disk == "target" and shared_target.iscsi_target.missing()
    if row.throttles and not throttle.root():
        missing = "no control group with processor time can be made here"
    return pytest.param(row, id=row.name, marks=pytest.mark.skip(reason=missing) if missing else ())


def report(capsys, name, outcome):
    tries = f", {outcome.tries} tries" if outcome.tries > 1 else ""
    with capsys.disabled():
        print(f"\n   {name}: {outcome.seconds} s{tries}", end="")


@pytest.mark.parametrize("row", [words(row) for row in nemesis_table.ALL_ROWS + MIXTURES])
def test_nemesis(row, started, capsys):
    outcome, folder = started[row.name, None].result()
    report(capsys, row.name, outcome)
    assert not outcome.wrong, f"{outcome.wrong}; {row}; logs in {folder}"
    assert not outcome.missed, f"{outcome.missed}; {row}; logs in {folder}"


@pytest.mark.parametrize("row,mutation", [(row, name) for name, (row, _) in nemesis_table.MUTATIONS.items()],
                         ids=[*nemesis_table.MUTATIONS])
def test_rule_is_missing_and_that_is_noticed(row, mutation, started, capsys):
    outcome, folder = started[row.name, mutation].result()
    report(capsys, f"without it: {mutation}", outcome)
    _, sign = nemesis_table.MUTATIONS[mutation]
    assert any(sign in sentence for sentence in outcome.wrong), f"it survived: {outcome}; logs in {folder}"
