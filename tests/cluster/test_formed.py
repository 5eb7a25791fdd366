"""A cluster as `gemel cluster` forms it, with a gemeld on each node: its own certificates and files let them
ask each other."""

import os

import gemeld_node
import keeper
import pytest
from gemeld_node import gemeld
from test_forming import form, three_fixture

__all__ = ["three_fixture"]

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="/dev/kvm is missing or not ours: no guest can run")


class Node(gemeld_node.GemeldNode):
    """gemeld on a machine of machine.py, whose keeper runs."""

    def __init__(self, one):  # pylint: disable=super-init-not-called
        self.name = one.name
        self.daemon = gemeld.Gemeld(
            one.folder / "gemeld", "--node", one.name, "--cluster", one.config,
            environment={"GEMEL_DIAL": str(keeper.BUILD / "helpers/dial/gemel-dial")})
        self.daemon.folder.mkdir()

    def start(self):
        self.daemon.start()
        return self

    def close(self):
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.kill()
        self.kill_vms()


@pytest.fixture(name="pair")
def pair_fixture(three):
    form(*three)
    with gemeld_node.together(map(Node, three[:2])) as nodes:
        yield nodes


def test_nodes_of_a_formed_cluster_answer_for_each_other(pair):
    a, b = pair
    policy = gemeld.v1("virtual_machines").FailoverSpec(preferred_node="nodes/a")
    a.daemon.well(a.daemon.create(run=True, spec=a.daemon.spec(failover=policy)))
    uid = b.until("RUNNING", "a").uid
    shown = b.daemon.vms.Inspect(gemeld.v1("virtual_machines").InspectVirtualMachineRequest(
        name=gemeld_node.VM))
    assert shown.pid == a.vmm(uid)
    reset = b.daemon.do("Reset")
    assert reset.metadata.node == "nodes/a"
    b.daemon.well(reset)
