"""gemel's verbs that ask gemeld, as a person and a script use them."""

import json
import os
import pathlib
import pty
import subprocess

import pytest

import gemeld as gemeld_of

GEMEL = gemeld_of.BUILD / "cli/gemel"


class Client:
    """gemel with a context of its own."""

    def __init__(self, folder, daemon):
        self.environment = {**os.environ, "GEMEL_CONTEXTS": str(pathlib.Path(folder) / "contexts")}
        self.ok("context", "add", "test", "--server", f"unix:{daemon.run_dir}/api.sock",
                "--project", "p", "--use")

    def run(self, *words):
        return subprocess.run([GEMEL, *map(str, words)], capture_output=True, text=True,
                              check=False, env=self.environment, stdin=subprocess.DEVNULL,
                              timeout=gemeld_of.DEADLINE)

    def ok(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def fails(self, status, *words):
        done = self.run(*words)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        assert done.stderr.startswith("error: "), done.stderr
        return done.stderr


@pytest.fixture(name="client")
def client_of(tmp_path, daemon):
    return Client(tmp_path, daemon)


KERNEL = gemeld_of.GUESTS / "guest-console"
WEB = ("vm", "create", "web", "--machine", "micro-1", "--memory", "32M", "--kernel", KERNEL,
       "--cmdline", "echo")


def test_life_of_a_vm(client):
    assert "web: created and started" in client.ok(*WEB, "--start", "--wait")
    listed = client.ok("vm", "list").splitlines()
    assert listed[0].split() == ["NAME", "STATE", "NODE", "CPUS", "MEMORY", "UPTIME"]
    assert listed[1].split()[:2] == ["web", "running"]
    client.ok("vm", "pause", "web", "--wait")
    assert json.loads(client.ok("vm", "get", "web", "-o", "json"))["status"]["state"] == \
        "VIRTUAL_MACHINE_STATE_PAUSED"
    client.ok("vm", "resume", "web", "--wait")
    client.ok("vm", "stop", "web", "--wait")
    client.ok("vm", "delete", "web", "--yes", "--wait")
    assert client.ok("vm", "list", "-o", "name") == ""


def test_formats(client):
    client.ok(*WEB)
    assert client.ok("vm", "list", "-o", "name") == "web\n"
    assert json.loads(client.ok("vm", "list", "-o", "json"))[0]["name"] == "projects/p/vms/web"
    assert "name: projects/p/vms/web" in client.ok("vm", "get", "web", "-o", "yaml")
    assert "UID" in client.ok("vm", "list", "-o", "wide")
    assert "\x1b" not in client.ok("vm", "list")


@pytest.mark.parametrize("status,words,says", [
    (2, ("vm", "lst"), "did you mean vm list?"),
    (2, ("vm", "create", "x", "--cpus", "many"), "cpus: many"),
    (2, ("vm", "create", "Bad_Name", "--kernel", KERNEL), "vm_id"),
    (2, ("vm", "list", "-o", "xml"), "output: xml"),
    (2, ("vm", "delete", "web"), "--yes"),
    (4, ("vm", "start", "nothing"), "gemel vm list"),
    (7, ("vm", "list", "--server", "unix:/no/such/socket"), "is gemeld running?"),
    (2, ("vm", "list", "--context", "nowhere"), "gemel context list"),
])
def test_errors_say_what_to_try(client, status, words, says):
    client.ok(*WEB)
    assert says in client.fails(status, *words)


def test_what_is_there_already_is_a_conflict(client):
    client.ok(*WEB)
    assert "already exists" in client.fails(5, *WEB)


def test_request_id_makes_a_repeated_command_one_change(client):
    first = json.loads(client.ok(*WEB, "--request-id", "one", "-o", "json"))
    again = json.loads(client.ok(*WEB, "--request-id", "one", "-o", "json"))
    assert first["name"] == again["name"]


def test_dry_run_changes_nothing(client):
    client.ok(*WEB, "--dry-run")
    assert client.ok("vm", "list", "-o", "name") == ""


def test_update_changes_what_is_given(client):
    client.ok(*WEB)
    client.ok("vm", "update", "web", "--memory", "64M", "--label", "app=shop", "--wait")
    vm = json.loads(client.ok("vm", "get", "web", "-o", "json"))
    assert vm["spec"]["memory"]["size_bytes"] == str(64 << 20)
    assert vm["labels"] == {"app": "shop"} and vm["spec"]["boot"]["command_line"] == "echo"


def test_watch_shows_what_changes(client):
    client.ok(*WEB)
    with subprocess.Popen([GEMEL, "vm", "list", "--watch", "-o", "json"], env=client.environment,
                          stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert watch.stdout.readline() == "[\n"
            client.ok("vm", "start", "web", "--wait")
            for line in watch.stdout:
                if "VIRTUAL_MACHINE_STATE_RUNNING" in line:
                    break
        finally:
            watch.kill()


def test_timeout_ends_with_124(client):
    done = client.run("event", "watch", "--timeout", "1s")
    assert done.returncode in (0, 124)


def test_completion_knows_vms_by_name(client):
    client.ok(*WEB)
    assert client.ok("__complete", "vm", "start", "w") == "web\n"
    assert client.ok("__complete", "vm", "st") == "start\nstop\n"
    script = client.ok("completion", "bash")
    shown = subprocess.run(
        ["bash", "-c", f'PATH={GEMEL.parent}:$PATH\n{script}\nCOMP_WORDS=(gemel vm stop w) COMP_CWORD=3\n'
         '_gemel; echo "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True,
        env=client.environment)
    assert shown.stdout == "web\n"


def test_console_echoes_and_leaves_by_its_escape(client):
    client.ok(*WEB, "--start", "--wait")
    ours, theirs = pty.openpty()
    with subprocess.Popen([GEMEL, "vm", "console", "web"], env=client.environment, stdin=theirs,
                          stdout=theirs, stderr=theirs, start_new_session=True) as console:
        os.close(theirs)
        seen = b""
        while b"leaves" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"knock knock\n")
        while b"knock knock" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"\x1dq")
        assert console.wait(timeout=gemeld_of.DEADLINE) == 0
    os.close(ours)


def test_access_by_the_command_line(client):
    assert client.ok("access", "whoami").startswith("user:root  from unix")
    client.ok("access", "grant", "viewer", "cert:alice", "projects/p")
    assert "viewer  cert:alice  projects/p" in client.ok("access", "list")
    client.ok("access", "revoke", "viewer", "cert:alice", "projects/p")
    client.fails(4, "access", "revoke", "viewer", "cert:alice", "projects/p")
    client.ok("access", "quota", "vms=1", "memory=1G")
    client.ok(*WEB)
    assert "vms: projects/p" in client.fails(8, "vm", "create", "db", "--kernel", KERNEL)


def test_disk_is_uploaded(client, daemon, tmp_path):
    image = tmp_path / "image.raw"
    image.write_bytes(os.urandom(3 << 20))
    assert "root: uploaded" in client.ok("disk", "upload", "root", "--from", image, "--wait")
    disk = json.loads(client.ok("disk", "get", "root", "-o", "json"))
    kept = daemon.state_dir / "disks/default" / f"{disk['uid']}.raw"
    assert kept.read_bytes() == image.read_bytes()
    image.write_bytes(b"x" * 100)
    assert "512" in client.fails(2, "disk", "upload", "odd", "--from", image)
    client.ok("disk", "delete", "root", "--yes", "--wait")
