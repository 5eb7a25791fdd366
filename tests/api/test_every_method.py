"""No method of the public API is left without a call by a client that is not ours."""

import pathlib
import re

import gemeld
import pytest

# What the tests call a service's stub.
STUBS = {"VirtualMachines": "vms"}
SOURCES = "\n".join(path.read_text(encoding="utf-8") for folder in ("api", "cluster")
                    for path in sorted((gemeld.ROOT / "tests" / folder).glob("*.py")))


def methods():
    for path in sorted((gemeld.ROOT / "proto/gemel/v1").glob("*.proto")):
        service = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"service (\w+)", line):
                service = found[1]
            elif found := re.match(r"\s+rpc (\w+)", line):
                yield service, found[1]


METHODS = list(methods())


@pytest.mark.parametrize("service,method", METHODS)
def test_a_test_calls(service, method):
    stub = STUBS.get(service, service.lower())
    alone = [name for _, name in METHODS].count(method) == 1
    calls = [rf"\.{method}\(" if alone else rf"\b{stub}\.{method}\("]
    if service == "VirtualMachines":
        calls.append(rf'\bdo\("{method}"')
    assert any(re.search(call, SOURCES) for call in calls), f"no test calls {service}.{method}"
