"""More of gemel's verbs: disks, top, a console that comes back, and completion by the shells themselves."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import gemeld as gemeld_of
import pytest
from conftest import needs_kvm
from test_client import GEMEL, WEB, client_of  # noqa: F401  a fixture

MIB = 1 << 20


def row(text, name):
    """A table's line as a dict by its heads; heads and cells are two spaces apart."""
    lines = text.splitlines()
    heads = re.split(r" {2,}", lines[0].strip())
    line, = (one for one in lines[1:] if one.split()[0] == name)
    return dict(zip(heads, re.split(r" {2,}", line.strip())))


def test_disk_from_create_to_delete(client, daemon):
    assert "data: created" in client.ok("disk", "create", "data", "--size", "8M", "--wait")
    assert row(client.ok("disk", "list"), "data")["SIZE"] == "8 MiB"
    client.ok("disk", "grow", "data", "--size", "16M", "--wait")
    disk = json.loads(client.ok("disk", "get", "data", "-o", "json"))
    kept = daemon.state_dir / "disks/default" / f"{disk['uid']}.raw"
    assert kept.stat().st_size == 16 * MIB
    client.ok("disk", "delete", "data", "--yes", "--wait")
    assert not kept.exists()
    client.fails(4, "disk", "get", "data")


@pytest.mark.parametrize("status,words,says", [
    (2, ("disk", "create", "data"), "either --size or --device"),
    (2, ("disk", "create", "data", "--size", "1000"), "512"),
    (2, ("disk", "create", "data", "--size", "lots"), "lots"),
    (2, ("disk", "create", "data", "--size", "8M", "--pool", "fast"), "fast"),
    (2, ("disk", "create", "data", "--device", "/dev/sda"), "/dev/sda"),
    (2, ("disk", "delete", "there"), "--yes"),
    (2, ("disk", "grow", "there", "--size", "4M", "--wait"), "size_bytes"),
    (4, ("disk", "grow", "data", "--size", "8M", "--wait"), "data"),
    (4, ("disk", "upload", "data", "--from", "/no/such/file"), "/no/such/file"),
])
def test_disk_errors_name_the_value_and_leave_nothing(client, status, words, says):
    client.ok("disk", "create", "there", "--size", "8M", "--wait")
    assert says in client.fails(status, *words)
    assert client.ok("disk", "list", "-o", "name") == "there\n"


def test_disk_of_a_vm_is_not_deleted_before_it(client):
    client.ok("disk", "create", "root", "--size", "8M", "--wait")
    client.ok(*WEB, "--disk", "root")
    assert "projects/p/vms/web" in client.fails(5, "disk", "delete", "root", "--yes", "--wait")
    assert row(client.ok("disk", "list"), "root")["USED BY"] == "web"


def test_what_a_vm_may_have_of_the_host_is_said_in_words(client):
    client.ok("disk", "create", "root", "--size", "8M", "--wait")
    client.ok(*WEB, "--disk", "root,read-iops=100", "--nic", "user,link=down", "--cpu-limit", "1.5",
              "--cpu-reserve", "0.5", "--cpu-pin", "0", "--memory-limit", "256M")
    spec = json.loads(client.ok("vm", "get", "web", "-o", "json"))["spec"]
    assert (spec["cpu"]["limit_millis"], spec["cpu"]["reservation_millis"]) == (1500, 500)
    assert spec["cpu"]["pinned_cpus"] == [0]
    assert int(spec["memory"]["limit_bytes"]) == 256 * MIB
    assert int(spec["disks"][0]["limit"]["read_operations_per_second"]) == 100
    assert spec["nics"][0]["link_down"]
    client.ok("vm", "update", "web", "--nic", "user,link=up", "--cpu-limit", "1", "--wait")
    spec = json.loads(client.ok("vm", "get", "web", "-o", "json"))["spec"]
    assert spec["cpu"]["limit_millis"] == 1000 and not spec["nics"][0].get("link_down")
    assert "nic: cable=up: unknown" in client.fails(2, "vm", "update", "web", "--nic", "user,cable=up")


def test_pools_show_where_disks_can_be(client, daemon):
    pool, = json.loads(client.ok("disk", "pools", "-o", "json"))
    assert pool["pool"] == "default"
    assert int(pool["capacity_bytes"]) == shutil.disk_usage(daemon.state_dir).total
    client.ok("disk", "create", "data", "--size", "8M", "--wait")
    assert row(client.ok("disk", "pools"), "default")["PROMISED"] == "8 MiB"


@needs_kvm
def test_top_shows_the_busiest_first(client, daemon):
    for name, spec in (("idler", daemon.spec("faults", "halt")), ("worker", daemon.spec("faults", "spin")),
                       ("zebra", daemon.spec("faults", "halt"))):
        daemon.well(daemon.create(name, run=True, spec=spec))
    table = client.ok("vm", "top", "--once", "--interval", "1s")
    assert table.splitlines()[0].split() == \
        ["NAME", "CPU%", "MEMORY", "READ", "WRITE", "RX", "TX", "EXITS/S"]
    assert table.splitlines()[1].split()[0] == "worker"
    assert float(row(table, "worker")["CPU%"]) > float(row(table, "idler")["CPU%"])


class Terminal:
    """A gemel on a terminal of its own, and what it shows."""

    def __init__(self, client, *words):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen([GEMEL, *words], env=client.environment, stdin=theirs,
                                        stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.seen = b""

    def type(self, text):
        os.write(self.ours, text)

    def until(self, text):
        """Reads on to behind `text`."""
        deadline = time.monotonic() + gemeld_of.DEADLINE
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.ours], [], [], left)[0], (text, self.seen)
            self.seen += os.read(self.ours, 4096)
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@needs_kvm
def test_console_comes_back_with_the_daemon(client, daemon):
    client.ok(*WEB, "--start", "--wait")
    terminal = Terminal(client, "vm", "console", "web")
    try:
        terminal.until(b"leaves")
        terminal.type(b"before\n")
        terminal.until(b"before")
        daemon.kill()
        terminal.until(b"attaching again")
        daemon.start()
        # What is typed while nobody takes it is lost: until the line is there again.
        deadline = time.monotonic() + gemeld_of.DEADLINE
        while b"after" not in terminal.seen:
            assert time.monotonic() < deadline, terminal.seen
            terminal.type(b"after\n")
            if select.select([terminal.ours], [], [], 0.2)[0]:
                terminal.seen += os.read(terminal.ours, 4096)
        assert b"before" not in terminal.seen  # nothing is shown twice
        terminal.type(b"\x1dq")
        assert terminal.process.wait(timeout=gemeld_of.DEADLINE) == 0
    finally:
        terminal.close()


def needs_shell(name):
    return pytest.mark.skipif(shutil.which(name) is None,
                              reason=f"needs the package {name} (packaging/packages-test.txt)")


@needs_shell("fish")
def test_fish_completes_vms_by_name(client):
    client.ok(*WEB)
    shown = subprocess.run(
        ["fish", "--no-config", "-c", f"set -x PATH {GEMEL.parent} $PATH; gemel completion fish | source;"
         " complete --do-complete 'gemel vm stop w'"],
        capture_output=True, text=True, check=True, env=client.environment)
    assert shown.stdout == "web\n"


@needs_shell("zsh")
def test_zsh_completes_vms_by_name(client):
    client.ok(*WEB)
    client.environment["PATH"] = f"{GEMEL.parent}:{os.environ['PATH']}"
    ours, theirs = pty.openpty()
    with subprocess.Popen(["zsh", "-f", "-i"], env={**client.environment, "PS1": "% ", "TERM": "dumb"},
                          stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as shell:
        os.close(theirs)
        terminal = Terminal.__new__(Terminal)
        terminal.ours, terminal.process, terminal.seen = ours, shell, b""
        terminal.type(b"autoload -Uz compinit && compinit -u -D && source <(gemel completion zsh) &&"
                      b" echo re''ady\n")
        terminal.until(b"ready")
        terminal.type(b"gemel vm stop w\t")
        terminal.until(b"gemel vm stop web")
        shell.kill()
    os.close(ours)
