"""What `meson install` puts into place works there, away from the build tree."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
DEADLINE = 60


@pytest.fixture(scope="module", name="usr")
def installed(tmp_path_factory):
    stage = tmp_path_factory.mktemp("stage")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", stage],
                   check=True, stdout=subprocess.DEVNULL)
    return next(path.parent for path in stage.rglob("bin"))


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=DEADLINE)


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="needs /dev/kvm: no guest can run")
def test_guest_runs(usr):
    done = run(usr / "bin/gemel", "run", "--profile", "micro", "--memory", "32M",
               "--kernel", BUILD / "tests/guests/guest-hello")
    assert done.returncode == 0 and "hello" in done.stdout, done


def test_programs_find_one_another(usr):
    assert "gemel vm VERB" in run(usr / "bin/gemel", "vm", "--help").stdout
    assert "gemel pki" in run(usr / "bin/gemel", "pki", "--help").stdout
    assert run(usr / "bin/gemeld", "--help").stdout.startswith("usage: gemeld")


@pytest.mark.parametrize("service, program", [("gemeld", "bin/gemeld"),
                                              ("gemel-keeper", "libexec/gemel/gemel-keeper")])
def test_unit_starts_what_is_installed(usr, service, program):
    unit = (usr / f"lib/systemd/system/{service}.service").read_text()
    started = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = started.removeprefix("ExecStart=").split()
    assert words[0].endswith(f"/{program}") and (usr / program).exists(), started
