"""A host with an uplink to a world, a tool that does what gemeld does, and guests in namespaces of their
own behind the ports: for test_hostnet*.py."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from hostnet_host import Guest, Namespace, Tool, ip

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
TOOL = BUILD / "tests/integration/hostnet_tool"
WORLD = "192.0.2.2"
DEADLINE = 30
MAC_A, MAC_B, MAC_C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
NETWORK = "network uid=n1 subnet=10.88.0.0/24 nat dhcp dns domain=one.gemel"
PORT = f"port uid=p1 network=n1 mac={MAC_A} address=10.88.0.2 hostname=web"

needs_host = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun") or not shutil.which("dnsmasq")
    or not shutil.which("nft"), reason="needs root, /dev/net/tun, dnsmasq, nft")


class Host:
    """Namespaces, tools and guests of one test; whatever it leaves is taken away."""

    def __init__(self, folder):
        self.stack = contextlib.ExitStack()
        self.folder = folder
        self.prefix = f"t{os.getpid() % 1000}"
        for name in ("state", "run"):
            (folder / name).mkdir()
        self.tools = []
        self.host = self.namespace("host")
        self.world = self.namespace("world")
        ip("-n", self.host.name, "link", "add", "up0", "type", "veth", "peer", "name", "eth0",
           "netns", self.world.name)
        for space, name, address in ((self.host, "up0", "192.0.2.1/24"),
                                     (self.world, "eth0", f"{WORLD}/24")):
            space.run("ip", "link", "set", name, "addrgenmode", "none")
            space.run("ip", "addr", "add", address, "dev", name)
            space.run("ip", "link", "set", name, "up")
        # Something of the administrator's.
        self.host.run("nft", "add table inet admin; add chain inet admin input "
                      "{ type filter hook input priority 0; policy accept; }; "
                      "add rule inet admin input tcp dport 22 counter accept")
        self.tool = self.start()

    def namespace(self, name):
        space = Namespace(name)
        self.stack.callback(space.close)
        return space

    def start(self):
        """A daemon, as after an end of the one before."""
        tool = Tool(TOOL, self.host, self.folder, self.prefix)
        self.tools.append(tool)
        return tool

    def guest(self, port, mac, tool=None):
        _, fds = (tool or self.tool).ask(f"open {port}")
        guest = Guest(port, fds[0], mac)
        self.stack.callback(guest.close)
        return guest

    def servers(self):
        """Our dnsmasq processes: {pid: effective capabilities and user}."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                if any(word.startswith(f"--conf-file={self.folder}") for word in words) \
                        and "dnsmasq" in os.readlink(folder / "exe"):
                    found[int(folder.name)] = (folder / "status").read_text()
        return found

    def close(self):
        self.stack.close()
        for tool in self.tools:
            tool.kill()
        for pid in self.servers():
            os.kill(pid, 9)


@pytest.fixture(name="h")
def host_fixture(tmp_path_factory):
    # Servers run as nobody special, who must be able to reach their files.
    folder = pathlib.Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o711)
    host = Host(folder)
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(folder)


def two_tenants(h):
    h.tool("put-network uid=n1 subnet=10.88.0.0/24 nat dhcp dns domain=one.gemel")
    h.tool("put-network uid=n2 subnet=10.89.0.0/24 nat dhcp dns domain=two.gemel")
    h.tool(f"put-port uid=p1 network=n1 mac={MAC_A} address=10.88.0.2 hostname=web")
    h.tool(f"put-port uid=p2 network=n1 mac={MAC_B} address=10.88.0.3 hostname=db")
    h.tool(f"put-port uid=p3 network=n2 mac={MAC_C} address=10.89.0.2 hostname=spy")


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def h_mac(h, network):
    bridge = h.tool(f"bridge {network}")
    return h.host.run("ip", "-o", "link", "show", bridge).split("link/ether ")[1].split()[0]
