"""A stock Debian by gemel and gemeld from upload to delete, as an operator does it.

tests/os/test_daemon.py runs it in the emulated host. GEMEL_DEBIAN is make_debian_disk's folder,
GEMEL_SMALL_DISK its disk made small."""

import json
import os
import pathlib
import re
import subprocess

import gemeld
import pytest
from test_client import Client
from test_consoles import Session

DEBIAN = pathlib.Path(os.environ.get("GEMEL_DEBIAN") or "/nowhere")
SMALL_DISK = os.environ.get("GEMEL_SMALL_DISK")
pytestmark = pytest.mark.skipif(
    SMALL_DISK is None,
    reason="needs a host that can run an operating system: tests/os/test_daemon.py runs it")
PROMPT = b"root@guest:~# "
NETWORK = ("printf '[Match]\\nType=ether\\n[Network]\\nDHCP=ipv4\\n' >/run/systemd/network/lan.network; "
           "systemctl start systemd-networkd")


@pytest.fixture(name="daemon")
def daemon_with_debian(tmp_path):
    # dnsmasq is not root: it must come through to its folder.
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    daemon = gemeld.Gemeld(tmp_path, "--boot-dir", DEBIAN).start()
    yield daemon
    daemon.close()


class Console:
    """Somebody who types at a shell and reads what it says."""

    def __init__(self, daemon):
        self.session = Session(daemon, write=True, follow=True)

    def say(self, text, then=PROMPT):
        """What it says up to the next prompt, without the line itself and what a terminal would obey."""
        self.session.send(input=text.encode() + b"\n")
        said = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]|\r", "", self.session.text(then).decode(errors="replace"))
        return said.partition("\n")[2]


def host_has():
    """What of the host a machine or a network could leave behind."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    groups = sorted(path.name for path in pathlib.Path("/sys/fs/cgroup/gemel").glob("*/"))
    return re.findall(r"^\d+: ([^:@]+)", links, re.M), rules, groups


def test_debian_from_upload_to_delete(daemon, tmp_path):
    client = Client(tmp_path, daemon)
    before = host_has()
    client.ok("net", "create", "lan", "--subnet", "10.88.0.0/24", "--wait")
    client.ok("disk", "upload", "root", "--from", SMALL_DISK, "--wait")
    client.ok("disk", "grow", "root", "--size", "2G", "--wait")
    client.ok("vm", "create", "web", "--cpus", "2", "--memory", "512M", "--disk", "root", "--nic", "lan",
              "--kernel", DEBIAN / "vmlinuz", "--initrd", DEBIAN / "initrd.img",
              "--cmdline", "console=ttyS0 root=/dev/vda quiet", "--start", "--wait")
    console = Console(daemon)
    console.session.text(b"login: ")
    console.say("root")
    assert console.say("nproc").splitlines()[0] == "2"
    console.say(f"mkdir -p /run/systemd/network; {NETWORK}")
    console.say("until ip -4 -br address show scope global | grep -q 10.88; do sleep 1; done")
    lease, = json.loads(client.ok("net", "leases", "lan", "-o", "json"))
    assert lease["virtual_machine"] == "projects/p/vms/web" and lease["hostname"] == "web", lease
    assert lease["ip_address"] in console.say("ip -4 -br address show scope global")
    # The name that the network's DNS has for it, asked over its card.
    console.say("echo nameserver 10.88.0.1 >/etc/resolv.conf")
    assert lease["ip_address"] in console.say("getent hosts web.lan.p.gemel")
    console.say("resize2fs /dev/vda && echo kept-$((40+2)) >/root/witness; sync")
    assert "running" in client.ok("vm", "list")
    client.ok("vm", "shutdown", "web", "--wait")
    exit_of = json.loads(client.ok("vm", "get", "web", "-o", "json"))["status"]["last_exit"]
    assert exit_of["reason"] == "EXIT_REASON_GUEST_POWER_OFF", exit_of
    disk = json.loads(client.ok("disk", "get", "root", "-o", "json"))
    image = daemon.state_dir / "disks/default" / f"{disk['uid']}.raw"
    subprocess.run(["/usr/sbin/e2fsck", "-fn", image], check=True)
    shown = subprocess.run(["/usr/sbin/debugfs", "-R", "cat /root/witness", image], capture_output=True,
                           text=True, check=True)
    assert shown.stdout.strip() == "kept-42"
    client.ok("vm", "delete", "web", "--yes", "--wait")
    client.ok("disk", "delete", "root", "--yes", "--wait")
    client.ok("net", "delete", "lan", "--yes", "--wait")
    assert not image.exists() and not daemon.processes()
    assert host_has() == before
