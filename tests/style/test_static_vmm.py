"""gemel-vmm and gemel-jail are static-PIEs that hold nothing they do not need."""

import json
import pathlib
import re
import subprocess

import pytest
import tree

# What a library leaves in a program that links it, stripped or not.
FOREIGN = {
    "spdlog": rb"spdlog",
    "libsystemd": rb"sd_journal|sd_notify|libsystemd",
    "glib": rb"g_malloc|GLib-|libglib",
    "gRPC": rb"grpc_init|grpc\.|libgrpc",
    "full protobuf": rb"google/protobuf/descriptor\.proto",
}


@pytest.fixture(name="program", scope="module", params=["gemel-vmm", "gemel-jail"])
def built_program(request):
    listing = subprocess.run(["meson", "introspect", "--targets", tree.BUILD], check=False,
                             capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip(f"{tree.BUILD} is no Meson build")
    for target in json.loads(listing.stdout):
        if target["name"] == request.param:
            path = pathlib.Path(target["filename"][0])
            assert path.exists(), f"{path} is not built"
            return path
    pytest.skip(f"{request.param} is not part of the build")


def readelf(option, program):
    return subprocess.run(["readelf", "-W", option, program], check=True, capture_output=True,
                          text=True).stdout


def test_vmm_is_position_independent(program):
    assert re.search(r"Type:\s+DYN\b", readelf("-h", program))


def test_vmm_asks_for_no_loader(program):
    assert "INTERP" not in readelf("-l", program)


def test_vmm_needs_no_library(program):
    assert "NEEDED" not in readelf("-d", program)


def test_vmm_stack_is_not_executable(program):
    stack = re.search(r"GNU_STACK.*", readelf("-l", program))
    assert stack and "RWE" not in stack.group(), stack


def test_vmm_holds_nothing_foreign(program):
    content = program.read_bytes()
    found = {library: match.group() for library, pattern in FOREIGN.items()
             if (match := re.search(pattern, content))}
    assert not found, found
