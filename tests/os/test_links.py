"""Ways between guest and host that need no network, under a stock kernel: sockets, console ports, and the
memory that a balloon gives back."""

import pathlib
import re
import shutil
import subprocess

import conftest
import initramfs
import pytest

HERE = pathlib.Path(__file__).resolve().parent
# Beside the virtio modules of make_debian_disk.
MODULES = ("vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport")


@pytest.fixture(scope="module", name="links")
def links_image(debian, tmp_path_factory):
    """An initramfs with guest-links, guest_tool and the modules that they need."""
    folder = tmp_path_factory.mktemp("links")
    modules = folder / "modules"
    shutil.copytree(debian / "modules", modules)
    for name in MODULES:
        initramfs.take_module(debian / "disk.img", f"net/vmw_vsock/{name}", modules)
    tool = folder / "tool"
    subprocess.run(["g++", "-O2", "-static", "-o", tool, HERE / "guest_tool.cc"], check=True)
    image = folder / "links.cpio"
    image.write_bytes(initramfs.build(modules, HERE / "guest-links", (tool,)))
    return image


machines = pytest.mark.parametrize("machine", [("--profile", "server", "--cpus", "4"),
                                               ("--profile", "micro")], ids=["server", "micro"])


def run_links(host, debian, links, what, *arguments, env=None):
    command = [HERE / "links_peer.py", what, "--", conftest.GEMEL, "run", "--kernel",
               debian / "vmlinuz", "--initrd", links, "--cmdline",
               f"console=ttyS0 quiet panic=-1 do={what}", *arguments]
    done = host.run([str(word) for word in command], cwd="/", timeout=2 * conftest.TIMEOUT, env=env)
    return conftest.Ended(done.returncode, done.stdout.decode(errors="replace"),
                          done.stderr.decode(errors="replace"))


@machines
def test_vsock_carries_bytes_both_ways(host, debian, links, machine):
    ended = run_links(host, debian, links, "vsock", *machine, "--vsock", "path=vm.sock")
    assert ended.status == 0, ended
    assert ended.says("call 2000: 1000000 bytes back, same"), ended
    assert ended.says("refused: call 2001: Connection reset by peer"), ended
    assert "host: echo: OK, 1004 bytes, same" in ended.console, ended
    assert "host: echo: OK, 1000235 bytes, same" in ended.console, ended
    assert "host: nobody: refused" in ended.console, ended
    assert "host: left:\n" in ended.console, ended


def test_balloon_gives_memory_back_and_takes_it_again(host, debian, links):
    # What stands in between is a Python program, which finds nothing to run it in the sandbox.
    env = {"GEMEL_VMM": str(HERE / "vmm_proxy.py"), "REAL_VMM": str(conftest.VMM),
           "VMM_PROXY": "/run/links/proxy.sock"}
    ended = run_links(host, debian, links, "balloon", "--profile", "server", "--cpus", "4",
                      "--balloon", "on", "--memory", "512M", "--sandbox", "off", env=env)
    assert ended.status == 0, ended
    reported = re.search(r"host: reporting: (\d+) MiB, then (\d+), reported (\d+)", ended.console)
    assert reported, ended
    full, freed, told = map(int, reported.groups())
    assert freed < full - 100 and told > 100, ended
    inflated = re.search(r"host: inflated: free (\d+), then (\d+), .*, (\d+) statistics", ended.console)
    assert inflated and int(inflated[2]) < int(inflated[1]) - 100 and int(inflated[3]) >= 8, ended
    assert "host: deflated: " in ended.console, ended
    squeezed = re.search(r"host: out of memory: (\d+), then (\d+)", ended.console)
    assert squeezed and int(squeezed[2]) < int(squeezed[1]), ended


@machines
def test_console_and_channel_carry_bytes_both_ways(host, debian, links, machine):
    ended = run_links(host, debian, links, "console", *machine, "--console", "unix:hvc.sock",
                      "--channel", "name=org.gemel.agent.0,path=agent.sock")
    assert ended.status == 0, ended
    assert ended.says("port org.gemel.agent.0"), ended
    assert ended.says("asked who are you"), ended
    assert "host: agent: answer to who are you?" in ended.console, ended
    assert "host: agent: then 1000000 bytes" in ended.console, ended
    assert "host: console: hello from hvc0" in ended.console, ended
    assert "host: left:\n" in ended.console, ended
