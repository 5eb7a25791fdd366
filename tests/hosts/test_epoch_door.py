"""What the door's log must not show, from logs that are made up."""

import types

import pytest
from epoch_door import EpochDoor, Write


def wrong(*writes):
    """Of (node, epoch's counter, number)."""
    log = [Write(0, node, (1, epoch), number) for node, epoch, number in writes]
    return EpochDoor.wrong(types.SimpleNamespace(log=log))


@pytest.mark.parametrize("writes", [
    [(1, 1, 1), (1, 1, 2), (2, 2, 3)],
    [(1, 1, 1), (1, 1, 1), (1, 2, 1), (1, 2, 2)],  # sent again, and after a pause under another epoch
    [(1, 1, 1), (2, 2, 3)],                        # the target has told nobody that it had 2
], ids=["one after the other", "again", "unanswered"])
def test_log_is_right(writes):
    assert wrong(*writes) == []


@pytest.mark.parametrize("writes", [
    [(1, 1, 1), (2, 2, 2), (1, 1, 3)],
    [(1, 1, 1), (2, 1, 2)],
    [(1, 1, 1), (1, 1, 2), (2, 2, 2)],
    [(1, 1, 1), (1, 1, 3)],
    [(1, 1, 1), (2, 2, 4)],
    [(1, 1, 1), (1, 1, 2), (1, 1, 1)],
], ids=["who was shut out writes", "two of one epoch", "a record is overwritten", "one is missing",
        "two are missing", "back"])
def test_log_is_wrong(writes):
    assert len(wrong(*writes)) == 1
