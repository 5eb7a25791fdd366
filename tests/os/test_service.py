"""Gemel installed on a host with systemd, as docs/INSTALL.md says: a service whose machines outlive it."""

import json
import shutil
import subprocess

import kvmhost
import pytest
from conftest import BUILD

TIMEOUT = 300
GROUPS = "/sys/fs/cgroup/gemel.slice/gemel-machines.service/machines"


@pytest.fixture(scope="module", name="installed")
def host_with_gemel(tmp_path_factory):
    stage = tmp_path_factory.mktemp("stage")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", stage],
                   check=True, stdout=subprocess.DEVNULL)
    boot = stage / "var/lib/gemel/boot"
    boot.mkdir(parents=True)
    for guest in ("guest-console", "guest-idle"):
        shutil.copy(BUILD / f"tests/guests/{guest}", boot)
    with kvmhost.Lab(systemd=True, disk="256M") as lab:
        host = lab.hosts[0]
        ok(host, "cp", "-a", f"{stage}/.", "/")
        ok(host, "systemctl", "daemon-reload")
        ok(host, "systemctl", "start", "gemeld")
        yield host


def ok(host, *words):
    done = host.run([str(word) for word in words], cwd="/", timeout=TIMEOUT)
    assert done.returncode == 0, (words, done.stdout, done.stderr, journal(host))
    return done.stdout.decode(errors="replace")


def journal(host):
    return host.run(["journalctl", "-u", "gemeld", "-u", "gemel-machines", "--no-pager"], cwd="/",
                    timeout=TIMEOUT).stdout.decode(errors="replace")[-4000:]


def machine(host):
    shown = json.loads(ok(host, "gemel", "vm", "get", "web", "-o", "json"))
    assert shown["status"]["state"] == "VIRTUAL_MACHINE_STATE_RUNNING", (shown, journal(host))
    return shown


@pytest.fixture(scope="module", name="web")
def machine_that_runs(installed):
    ok(installed, "gemel", "vm", "create", "web", "--machine", "micro-1", "--memory", "32M", "--start",
       "--wait", "--kernel", "/var/lib/gemel/boot/guest-idle")
    yield machine(installed)
    ok(installed, "gemel", "vm", "stop", "web", "--wait")
    ok(installed, "gemel", "vm", "delete", "web", "--yes", "--wait")


def test_it_is_active_once_it_serves(installed):
    assert ok(installed, "systemctl", "show", "-P", "ActiveState", "gemeld") == "active\n"
    assert ok(installed, "systemctl", "show", "-P", "Type", "gemeld") == "notify\n"
    assert "gemel" in ok(installed, "gemel", "version")
    assert len(ok(installed, "gemel", "node", "list").splitlines()) == 2


def test_journal_has_its_fields(installed):
    entries = [json.loads(line) for line in
               ok(installed, "journalctl", "-u", "gemeld", "-o", "json", "--no-pager").splitlines()]
    ready, = (entry for entry in entries if str(entry["MESSAGE"]).startswith("ready: /run/gemel"))
    assert ready["GEMEL_COMPONENT"] == "gemeld" and ready["PRIORITY"] == "6"


def test_host_that_goes_down_asks_its_guests_first(installed):
    """As far as systemd's end of the host goes: the service is told that it is under way."""
    ok(installed, "gemel", "vm", "create", "asked", "--machine", "micro-1", "--memory", "32M", "--start",
       "--wait", "--kernel", "/var/lib/gemel/boot/guest-console", "--cmdline", "button")
    ok(installed, "sh", "-c", "mkdir -p /run/told /run/systemd/system/gemeld.service.d &&"
       " printf '#!/bin/sh\\necho stopping\\n' >/run/told/systemctl && chmod +x /run/told/systemctl &&"
       " printf '[Service]\\nEnvironment=PATH=/run/told:/usr/bin:/bin\\n'"
       " >/run/systemd/system/gemeld.service.d/told.conf")
    ok(installed, "systemctl", "daemon-reload")
    ok(installed, "systemctl", "stop", "gemeld")
    ok(installed, "rm", "-r", "/run/systemd/system/gemeld.service.d")
    ok(installed, "systemctl", "daemon-reload")
    assert "the host goes down: 1 guests are asked" in journal(installed)
    # Its process ends by itself, after the guest has.
    ok(installed, "sh", "-c", "while pgrep -x gemel-vmm; do sleep 0.2; done")
    ok(installed, "systemctl", "start", "gemeld")
    ok(installed, "sh", "-c", "until gemel vm list | grep -q running; do sleep 0.2; done")
    shown = json.loads(ok(installed, "gemel", "vm", "get", "asked", "-o", "json"))
    assert shown["status"]["last_exit"]["reason"] == "EXIT_REASON_GUEST_POWER_OFF"
    ok(installed, "gemel", "vm", "delete", "asked", "--force", "--yes", "--wait")


def test_machine_has_a_group_of_its_own_with_its_limits(installed, web):
    group = f"{GROUPS}/{web['uid']}"
    assert str(web["status"]["pid"]) in ok(installed, "cat", f"{group}/cgroup.procs").split()
    assert 32 << 20 < int(ok(installed, "cat", f"{group}/memory.max")) < 64 << 20
    # systemd has no opinion on what it has delegated.
    before = ok(installed, "cat", f"{GROUPS}/cgroup.subtree_control")
    assert {"cpu", "io", "memory"} <= set(before.split())
    ok(installed, "systemctl", "daemon-reload")
    assert ok(installed, "cat", f"{GROUPS}/cgroup.subtree_control") == before


@pytest.mark.parametrize("how", [["restart"], ["kill", "--signal=SIGKILL", "--kill-who=main"]])
def test_machine_runs_on_when_the_service_ends(installed, web, how):
    ok(installed, "systemctl", *how, "gemeld")
    ok(installed, "sh", "-c", "until [ \"$(systemctl is-active gemeld)\" = active ]; do sleep 0.2; done;"
       " until gemel vm list; do sleep 0.2; done")
    assert machine(installed)["status"]["pid"] == web["status"]["pid"]


def test_machine_runs_while_the_service_is_stopped(installed, web):
    ok(installed, "systemctl", "stop", "gemeld")
    assert ok(installed, "cat", f"/proc/{web['status']['pid']}/comm") == "gemel-vmm\n"
    assert installed.run(["gemel", "vm", "list"], cwd="/", timeout=TIMEOUT).returncode == 7
    ok(installed, "systemctl", "start", "gemeld")
    assert machine(installed)["status"]["pid"] == web["status"]["pid"]
