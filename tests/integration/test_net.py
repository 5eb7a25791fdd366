"""virtio-net on real taps and sockets: `gemel run` and a bare-metal guest that sends or receives, on the local KVM.

Each test has a network namespace of its own with a tap in it.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"
GUEST = BUILD / "tests/guests/guest-bench"
DEADLINE = 120
ETHER_TYPE = 0x88b5  # the guest's: for local experiments
TO_GUEST = bytes.fromhex("020000000001")
TO_ALL = bytes.fromhex("ff" * 6)


def may_make_taps():
    return os.geteuid() == 0 and os.path.exists("/dev/net/tun")


pytestmark = [
    pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="needs /dev/kvm"),
    pytest.mark.skipif(not may_make_taps(), reason="needs root and /dev/net/tun")]


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(name="namespace")
def namespace_fixture():
    name = f"gemel-test-{os.getpid()}"
    ip("netns", "add", name)
    try:
        yield name
    finally:
        ip("netns", "del", name)


def tap(namespace, *kind):
    ip("-n", namespace, "tuntap", "add", "tap0", "mode", "tap", *kind)
    ip("-n", namespace, "link", "set", "tap0", "up")
    return "tap0"


def start(namespace, words, net, *more, **options):
    # Without ACPI the guest finds devices behind virtio-mmio on its command line.
    profile = ["server"] if "transport=pci" in words else ["micro", "--acpi", "off"]
    command = ["ip", "netns", "exec", namespace, GEMEL, "run", "--profile", *profile,
               "--rng", "off", "--memory", "64M", "--on-reboot", "exit", "--kernel", GUEST,
               "--cmdline", f"device=net end=reset {words}", "--net", net, *more]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def finish(process):
    """What the guest measured."""
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, (out, err)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    assert lines, (out, err)
    return json.loads(lines[-1])


def run(namespace, words, net):
    return finish(start(namespace, words, net))


def tap_counter(namespace, name, interface="tap0"):
    path = f"/sys/class/net/{interface}/statistics/{name}"
    done = subprocess.run(["ip", "netns", "exec", namespace, "cat", path], check=True,
                          stdout=subprocess.PIPE)
    return int(done.stdout)


def set_namespace(handle):
    """The calling thread's, as os.setns does from Python 3.12 on."""
    clone_newnet = 0x40000000
    assert ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), clone_newnet) == 0


@contextlib.contextmanager
def frames_into(namespace, size, interface="tap0", to=TO_GUEST):
    """Sends frames to the guest, as many as go, meanwhile."""
    stop = threading.Event()

    def flood():
        # The thread alone is in the namespace, and ends with it.
        with open(f"/run/netns/{namespace}", encoding="ascii") as handle:
            set_namespace(handle)
        frame = to + bytes.fromhex("020000000002") + ETHER_TYPE.to_bytes(2, "big")
        frame += bytes(size - len(frame))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind((interface, ETHER_TYPE))
            while not stop.is_set():
                try:
                    sender.send(frame)
                except OSError:  # no carrier yet, or the tap's queue is full
                    time.sleep(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("wait", ["poll", "interrupt"])
@pytest.mark.parametrize("event", [0, 1])
def test_frames_reach_the_tap(namespace, wait, event):
    name = tap(namespace, "vnet_hdr")
    found = run(namespace, f"rw=tx bs=1500 qd=64 ms=300 wait={wait} event={event}", f"tap={name}")
    assert found["ops"] > 100
    assert tap_counter(namespace, "rx_packets") >= found["ops"]
    assert tap_counter(namespace, "rx_errors") == 0


@pytest.mark.parametrize("wait", ["poll", "interrupt"])
@pytest.mark.parametrize("size", [64, 1500])
def test_frames_reach_the_guest(namespace, wait, size):
    name = tap(namespace)
    with frames_into(namespace, size):
        found = run(namespace, f"rw=rx bs={size} qd=64 ms=300 wait={wait}", f"tap={name}")
    assert found["ops"] > 100
    assert tap_counter(namespace, "tx_packets") >= found["ops"]


def test_both_ways_behind_pci(namespace):
    name = tap(namespace, "vnet_hdr")
    words = "bs=1500 qd=64 ms=300 wait=interrupt transport=pci"
    assert run(namespace, f"rw=tx {words}", f"tap={name}")["ops"] > 100
    with frames_into(namespace, 1500):
        assert run(namespace, f"rw=rx {words}", f"tap={name}")["ops"] > 100


def test_large_frames_reach_the_guest(namespace):
    name = tap(namespace)
    ip("-n", namespace, "link", "set", "tap0", "mtu", "9000")
    with frames_into(namespace, 9014):
        found = run(namespace, "rw=rx bs=9014 qd=16 ms=300 wait=interrupt", f"tap={name}")
    assert found["ops"] > 50


def test_a_tap_that_is_not_there_is_made_and_goes(namespace):
    found = run(namespace, "rw=tx bs=64 qd=8 ms=100 wait=poll", "tap=fresh0")
    assert found["ops"] > 10
    links = subprocess.run(["ip", "-n", namespace, "link"], check=True, stdout=subprocess.PIPE)
    assert b"fresh0" not in links.stdout


def test_several_queues_on_one_tap(namespace):
    name = tap(namespace, "multi_queue")
    assert run(namespace, "rw=tx bs=64 qd=8 ms=100 wait=poll", f"tap={name},queues=4")["ops"] > 10
    assert run(namespace, "rw=tx bs=64 qd=8 ms=100 wait=poll", f"tap={name}")["ops"] > 10


def test_both_ways_on_a_macvtap(namespace):
    ip("-n", namespace, "link", "add", "lower0", "type", "veth", "peer", "name", "wire0")
    # Its device is called by its index, in one folder for all namespaces.
    ip("-n", namespace, "link", "add", "link", "lower0", "name", "macvtap0",
       "index", str(100000 + os.getpid()), "type", "macvtap", "mode", "bridge")
    for name in ("lower0", "wire0"):
        ip("-n", namespace, "link", "set", name, "up")
    words = "bs=1500 qd=64 ms=300 wait=interrupt"
    found = run(namespace, f"rw=tx {words}", "macvtap=macvtap0")
    assert found["ops"] > 100
    assert tap_counter(namespace, "rx_packets", "wire0") >= found["ops"]
    with frames_into(namespace, 1500, "wire0", TO_ALL):
        assert run(namespace, f"rw=rx {words}", "macvtap=macvtap0")["ops"] > 100


def test_one_queue_tap_refuses_several(namespace):
    name = tap(namespace)
    process = start(namespace, "rw=tx", f"tap={name},queues=2")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert "net: tap=tap0: Invalid argument" in err and "multi_queue" in err


def vmm_below(pid):
    """The gemel-vmm among a process's descendants."""
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if pathlib.Path(f"/proc/{child}/comm").read_text() == "gemel-vmm\n":
            return int(child)
        if found := vmm_below(child):
            return found
    return None


def resident_kib(pid, guest_kib):
    """Of all mappings but the guest's memory."""
    mappings = re.findall(r"^Size: +(\d+) kB\n(?:.*\n)*?Rss: +(\d+) kB",
                          pathlib.Path(f"/proc/{pid}/smaps").read_text(), re.MULTILINE)
    return sum(int(rss) for size, rss in mappings if int(size) < guest_kib)


@pytest.mark.parametrize("transport", ["mmio", "pci"])
def test_vmm_at_work_with_card_and_disk_is_small(namespace, tmp_path, transport):
    name = tap(namespace, "vnet_hdr")
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    process = start(namespace, f"rw=tx bs=1500 qd=64 ms=60000 wait=interrupt transport={transport}",
                    f"tap={name}", "--disk", f"path={tmp_path / 'disk'}")
    with process:
        deadline = time.monotonic() + DEADLINE
        while tap_counter(namespace, "rx_packets") < 10000:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        resident = resident_kib(vmm_below(process.pid), 64 << 10)
        process.kill()
    assert 500 < resident <= 4 << 10


def test_a_limit_holds(namespace):
    name = tap(namespace)
    found = run(namespace, "rw=tx bs=1000 qd=32 ms=1000 warm=500 wait=interrupt",
                f"tap={name},tx-pps=500,tx-pps-burst=10")
    # A lower bound only for what works at all: the machine may be busy.
    assert 20 < found["ops"] <= 700


def test_two_machines_on_a_socket(namespace, tmp_path):
    net = f"socket={tmp_path}/wire"
    receiver = start(namespace, "rw=rx bs=600 qd=64 ms=500 warm=1500 wait=interrupt", net)
    deadline = time.monotonic() + DEADLINE
    while not (tmp_path / "wire").exists():
        assert time.monotonic() < deadline and receiver.poll() is None, receiver.communicate()
        time.sleep(0.05)
    with start(namespace, "rw=tx bs=600 qd=64 ms=60000 wait=interrupt", net) as sender:
        found = finish(receiver)
        sender.kill()
    assert found["ops"] > 100
    assert not (tmp_path / "wire").exists()
