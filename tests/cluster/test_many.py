"""More than two nodes (many.py): the machines of one that is lost are spread over all others by what room they
have, each is started once, and nobody else writes to its disk."""

import os
import pathlib
import sys

import many
import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import iscsi_target  # noqa: E402

missing = iscsi_target.missing()
pytestmark = [pytest.mark.skipif(missing is not None, reason=missing or ""), pytest.mark.skipif(
    not all(os.access(device, os.R_OK | os.W_OK) for device in ("/dev/kvm", "/dev/net/tun"))
    or os.geteuid() != 0, reason="/dev/kvm or /dev/net/tun is missing or not ours, or we are not root")]


@pytest.mark.parametrize("story", many.STORIES)
def test_story(story, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")  # short: the names of sockets below it have 107 bytes
    outcome = many.run(folder, story)
    assert outcome.wrong == [] and outcome.missed == "", (outcome, folder)
