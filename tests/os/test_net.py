"""Networks under a stock kernel: a tap, a tap that the host's kernel serves (vhost), and user networking.
One boot a machine, and all that there is to see in it."""

import pathlib
import re
import shutil
import subprocess

import conftest
import initramfs
import pytest

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ("net/core/failover", "drivers/net/net_failover")
TAPS = ("gemeltap0", "gemeltap1")
PEERS = ("10.9.0.1", "10.9.1.1", "10.0.2.2")
LEAST_PACKETS = 50


@pytest.fixture(scope="module", name="tool")
def tool_program(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "tool"
    subprocess.run(["g++", "-O2", "-static", "-o", path, HERE / "net_tool.cc"], check=True)
    return path


@pytest.fixture(scope="module", name="image")
def image_file(debian, tool):
    """An initramfs with guest-net and what it needs."""
    modules = tool.parent / "modules"
    shutil.copytree(debian / "modules", modules)
    for place in MODULES:
        initramfs.take_module(debian / "disk.img", place, modules)
    image = tool.parent / "net.cpio"
    image.write_bytes(initramfs.build(modules, HERE / "guest-net", (tool,), ("ethtool",)))
    return image


@pytest.fixture(name="taps", params=[1, 4], ids=["1-cpu", "4-cpus"])
def taps_of_the_host(run, request):
    """Two taps, with as many queues as the guest has CPUs; the number of these."""
    queues = ["multi_queue"] if request.param > 1 else []
    for number, name in enumerate(TAPS):
        run.in_host("ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr", *queues)
        run.in_host("ip", "addr", "add", f"10.9.{number}.1/24", "dev", name)
        run.in_host("ip", "link", "set", name, "up")
    yield request.param
    for name in TAPS:
        run.in_host("ip", "link", "del", name)


def counters(ended, card, direction):
    """Packets by queue."""
    found = re.findall(rf"guest: {card} {direction}_queue_\d+_packets: (\d+)", ended.console)
    return [int(count) for count in found]


@pytest.mark.parametrize("profile", ["micro", "server"])
def test_networks_carry_all_that_a_guest_sends(run, debian, image, tool, taps, profile):
    mtu = 1500 if taps == 1 else 9000
    keys = f"queues={taps},mtu={mtu}"
    command = [HERE / "net_peer.py", tool, conftest.GEMEL, "run", "-v", "--profile", profile,
               "--cpus", taps, "--memory", "256M", "--kernel", debian / "vmlinuz",
               "--initrd", image, "--cmdline", f"console=ttyS0 quiet panic=-1 queues={taps}",
               "--net", f"tap={TAPS[0]},vhost=off,{keys}", "--net", f"tap={TAPS[1]},{keys}",
               "--net", "user,mtu=9000,hostfwd=tcp:127.0.0.1:2222-:7"]
    done = run.host.run([str(word) for word in command], cwd="/", timeout=1000)
    ended = conftest.Ended(done.returncode, done.stdout.decode(errors="replace"),
                           done.stderr.decode(errors="replace"))
    print(ended.log, ended.console)
    assert ended.status == 0, ended
    check_engines(ended)
    check_transfers(ended)
    check_counters(ended)
    check_cable(ended, mtu)
    check_ethtool(ended)
    if taps > 1:
        check_spread(ended, taps)
    for name in TAPS:
        assert run.in_host("cat", f"/sys/class/net/{name}/statistics/rx_errors").strip() == "0"


def check_engines(ended):
    engines = re.findall(r"net\d.*queues of 256, (\w+)", ended.log)
    assert engines == ["tap", "vhost", "socket"] * 2, ended  # at the start, and when asked


def check_counters(ended):
    """What gemel counts, of the card that it serves and of the one that the kernel does."""
    for card in ("net0", "net1"):
        last = re.findall(rf"{card}: (rx_packets=.*)", ended.log)[-1]
        counted = {word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", last)}
        for direction in ("rx", "tx"):
            assert counted[f"{direction}_bytes"] > 100_000_000, (card, ended)
            assert counted[f"{direction}_packets"] > 1000, (card, ended)


def check_transfers(ended):
    for peer in PEERS:
        assert ended.says(f"ping {peer}"), (peer, ended)
        for verb in ("up", "down"):
            assert ended.says(f"{peer} {verb}: 100000000 bytes, same"), (peer, verb, ended)
    assert ended.says("lease=10.0.2.15/24 router=10.0.2.2 dns=10.0.2.3"), ended
    for verb in ("up", "down"):
        assert f"host: forward {verb}: 10000000 bytes, same" in ended.console, ended


def check_cable(ended, mtu):
    assert len(re.findall(rf"guest: eth[01] mac=\S+ mtu={mtu}\b", ended.console)) == 2, ended
    carriers = re.findall(r"guest: carriers (\d+)", ended.console)
    assert carriers == ["00", "11"], ended
    assert not ended.says("ping without a cable"), ended
    for peer in PEERS:
        assert ended.says(f"ping {peer} -s {mtu - 100}"), (peer, ended)
    for card in ("eth0", "eth1"):
        assert ended.says(f"{card} again"), ended
    assert not ended.says("dmesg"), ended


def check_ethtool(ended):
    for feature in ("rx-checksumming", "tx-checksumming", "scatter-gather",
                    "tcp-segmentation-offload", "tx-tcp6-segmentation", "generic-receive-offload"):
        assert ended.says(f"eth0 {feature}: on"), (feature, ended)
    for card in ("eth0", "eth1"):
        for direction in ("rx", "tx"):
            assert sum(counters(ended, card, direction)) > 1000, (card, direction, ended)


def check_spread(ended, queues):
    for card in ("eth0", "eth1"):
        assert ended.says(f"{card} flows 16"), (card, ended)
        assert ended.says(f"{card} Combined:\\s*{queues}"), (card, ended)
        for direction in ("rx", "tx"):
            packets = counters(ended, card, direction)
            assert len(packets) == queues, (card, ended)
            assert sum(count > LEAST_PACKETS for count in packets) > queues / 2, (card, packets, ended)
