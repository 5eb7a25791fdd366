"""Tests of the emulated KVM host with real hosts. Two of them, booted once, serve most tests."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import images  # noqa: E402
import kvmhost  # noqa: E402

RUN, CTL = str(HERE / "run"), str(HERE / "ctl")


@pytest.fixture(scope="module")
def lab():
    with kvmhost.Lab(hosts=2, disk="256M", modules=("sch_netem",)) as lab:
        yield lab


@pytest.fixture
def host(lab):
    return lab.host(1)


@pytest.fixture
def peer(lab):
    return lab.host(2)


def ctl(lab, *words):
    return subprocess.run([CTL, lab.name, *words], capture_output=True, text=True, timeout=60)


def reaches(host, address):
    """Whether a TCP connection attempt is answered, be it by a refusal, within a second."""
    code = ("import errno, socket, sys; s = socket.socket(); s.settimeout(1)\n"
            f"try: sys.exit(s.connect_ex(('{address}', 9)) != errno.ECONNREFUSED)\n"
            "except OSError: sys.exit(1)")
    return host.run(["/usr/bin/python3", "-c", code], timeout=30).returncode == 0


def eventually(condition, seconds=30):
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# Commands.

def test_command_ends_with_status_passes_it_back(host):
    assert host.run(["sh", "-c", "exit 77"]).returncode == 77


def test_command_killed_by_signal_is_128_and_the_signal(host):
    assert host.run(["sh", "-c", "kill -SEGV $$"]).returncode == 128 + signal.SIGSEGV


def test_missing_command_is_127(host):
    assert host.run(["/no/such/command"]).returncode == 127


def test_command_never_runs_on_the_spare_processor_where_qemu_loses_interrupts(host):
    allowed = host.run(["/bin/grep", "Cpus_allowed_list", "/proc/self/status"]).stdout.split()[1]
    assert allowed == b"1"


def test_output_and_errors_stay_apart(host):
    done = host.run(["sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_kernel_messages_stay_out_of_the_output(host):
    done = host.run(["sh", "-c", "echo '<0>a test of the console' > /dev/kmsg; echo fine"])
    assert (done.stdout, done.stderr) == (b"fine\n", b"")
    assert eventually(lambda: "a test of the console" in host.console_tail())


def test_large_binary_output_is_complete(host):
    done = host.run(["dd", "if=/dev/zero", "bs=1M", "count=16", "status=none"])
    assert done.stdout == bytes(16 << 20)


WORDS = ["", " a  b ", "--", "'\"\\", "$HOME `id` *", "two\nlines", "ä\udcff"]


@pytest.mark.parametrize("word", WORDS)
def test_argument_arrives_as_it_is(host, word):
    done = host.run(["printf", "%s|", "x", word])
    assert done.stdout == b"x|" + word.encode("utf-8", "surrogateescape") + b"|"


def test_environment_is_clean_and_names_the_host(host):
    done = host.run(["env"], env={"MORE": "a=b c"})
    assert set(done.stdout.decode().splitlines()) == {
        "KVMHOST=1", "KVMHOST_NODE=1", "KVMHOST_RESULTS=/results", "KVMHOST_DISK=/disk",
        "MORE=a=b c", "HOME=/root", "TERM=linux", "LANG=C.UTF-8", f"PATH={kvmhost.PATH}"}


def test_folder_is_the_callers(host, tmp_path):
    (tmp_path / "seen").write_text("inside")
    assert host.run(["cat", "seen"], cwd=str(tmp_path)).stdout == b"inside"


def test_write_to_the_callers_files_stays_inside(host, tmp_path):
    done = host.run(["sh", "-c", "echo changed > here && cat here"], cwd=str(tmp_path))
    assert done.stdout == b"changed\n"
    assert not (tmp_path / "here").exists()


def test_two_commands_run_side_by_side(host):
    fifo = "/tmp/side-by-side"
    host.run(["mkfifo", fifo], check=True)
    reader = host.start(["cat", fifo])
    assert host.run(["sh", "-c", f"echo met > {fifo}"], timeout=30).returncode == 0
    output = []
    assert reader.wait(lambda kind, data: output.append(data), timeout=30) == 0
    assert b"".join(output) == b"met\n"


def test_command_past_its_timeout_is_killed_with_its_children(host):
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sh", "-c", "sleep 9876 & wait"], timeout=1)
    assert eventually(lambda: host.run(["pgrep", "-f", "sleep 987[6]"]).returncode == 1)


def test_daemon_left_behind_does_not_hold_the_command(host):
    assert host.run(["sh", "-c", "sleep 9875 & exit 3"], timeout=30).returncode == 3


def test_results_are_seen_outside(host, lab):
    host.run(["sh", "-c", "echo found > $KVMHOST_RESULTS/result"], check=True)
    assert (lab.results / "result").read_text() == "found\n"


# The host.

def test_dev_kvm_speaks_api_12(host):
    code = "import fcntl, os; print(fcntl.ioctl(os.open('/dev/kvm', os.O_RDWR), 0xAE00))"
    assert host.run(["/usr/bin/python3", "-c", code]).stdout == b"12\n"


@pytest.mark.parametrize("device", ["net/tun", "vhost-net", "watchdog", "ptmx", "shm/"])
def test_device_exists(host, device):
    assert host.run(["test", "-e", f"/dev/{device}"]).returncode == 0


def test_cgroup2_offers_its_controllers(host):
    controllers = host.run(["cat", "/sys/fs/cgroup/cgroup.controllers"]).stdout.split()
    assert {b"cpu", b"io", b"memory", b"pids"} <= set(controllers)


def test_module_asked_for_is_loaded(host):
    assert host.run(["test", "-d", "/sys/module/sch_netem"]).returncode == 0


def test_kernel_finds_modules_by_itself(host):
    done = host.run(["ip", "link", "add", "link", "eth0", "name", "v5", "type", "vlan", "id", "5"])
    assert done.returncode == 0, done.stderr


def test_hostname_is_the_number(peer):
    assert peer.run(["uname", "-n"]).stdout == b"host2\n"


# Power, cables, time.

def test_power_cut_keeps_what_was_flushed(host):
    code = ("import mmap, os; f = os.open('/disk/file', os.O_RDWR | os.O_CREAT | os.O_DIRECT)\n"
            "page = mmap.mmap(-1, 4096); page[:5] = b'still'\n"
            "os.write(f, page); os.fsync(f)")
    host.run(["/usr/bin/python3", "-c", code], check=True)
    host.power_cut()
    assert host.state == kvmhost.OFF
    with pytest.raises(kvmhost.HostDied):
        host.run(["true"])
    host.power_on()
    assert host.run(["head", "-c5", "/disk/file"]).stdout == b"still"


def test_power_cut_ends_a_running_command(lab, peer):
    job = peer.start(["sleep", "1000"])
    assert ctl(lab, "power-cut", "2").returncode == 0
    with pytest.raises(kvmhost.HostDied):
        job.wait(print, timeout=30)
    assert ctl(lab, "power-on", "2").returncode == 0


def test_hosts_reach_each_other(host, peer):
    assert reaches(host, peer.address)


def test_host_reaches_the_labs_processes(lab, host):
    assert reaches(host, "10.77.0.254")
    ip = lab.popen(["ip", "-br", "addr", "show", "br0"], stdout=subprocess.PIPE)
    assert b"10.77.0.254/24" in ip.communicate()[0]


def test_pulled_cable_separates_until_plugged(host, peer):
    host.pull_cable()
    assert not reaches(host, peer.address)
    assert b"NO-CARRIER" in host.run(["ip", "link", "show", "eth0"]).stdout
    host.plug_cable()
    assert eventually(lambda: reaches(host, peer.address))


def boot_clock(host):
    return float(host.run(["cut", "-d ", "-f1", "/proc/uptime"], timeout=30).stdout)


def rate_of(host):
    """At least and at most how fast its clock runs, beside ours."""
    times = [time.monotonic()]
    first = boot_clock(host)
    times.append(time.monotonic())
    time.sleep(3)
    times.append(time.monotonic())
    elapsed = boot_clock(host) - first
    times.append(time.monotonic())
    return (elapsed - 0.02) / (times[3] - times[0]), (elapsed + 0.02) / (times[2] - times[1])


def test_clock_runs_at_the_callers_rate(host):
    least, most = rate_of(host)
    assert least < 1.02 and most > 0.98


@pytest.mark.parametrize("percent", [90, 110])
def test_clock_can_be_made_slow_or_fast(host, percent):
    host.set_clock_rate(percent)
    least, most = rate_of(host)
    host.set_clock_rate(100)
    assert least < percent / 100 + 0.02 and most > percent / 100 - 0.02


def test_stepped_clock_is_real_time_alone(host):
    before = boot_clock(host)
    host.step_clock(-3600)
    seconds = int(host.run(["date", "+%s"]).stdout)
    host.step_clock(3600)
    assert abs(time.time() - 3600 - seconds) < 60
    assert boot_clock(host) - before < 60


def test_frozen_disk_holds_writes_until_it_is_thawed(host):
    host.freeze_disk()
    job = host.start(["sh", "-c", "echo late > /disk/late"])
    with pytest.raises(TimeoutError):
        job.wait(print, timeout=1)
    host.thaw_disk()
    assert job.wait(print, timeout=30) == 0


def test_stopped_host_finds_its_clock_ahead(host):
    before = boot_clock(host)
    host.freeze(kvmhost.STOPPED)
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["true"], timeout=3)
    host.thaw()
    assert boot_clock(host) - before >= 3


def test_paused_host_does_not_see_the_time_pass(host):
    before = boot_clock(host)
    started = time.monotonic()
    host.freeze(kvmhost.PAUSED)
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["true"], timeout=5)
    host.thaw()
    assert boot_clock(host) - before < time.monotonic() - started - 4


# The shell's side.

def test_ctl_runs_a_command_with_its_output_and_status(lab):
    done = ctl(lab, "run", "2", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")


def test_ctl_freezes_and_thaws(lab, peer):
    assert ctl(lab, "freeze", "2", "paused").returncode == 0
    assert "host2 10.77.0.2 paused plugged" in ctl(lab, "status").stdout
    assert ctl(lab, "thaw", "2").returncode == 0
    assert peer.state == kvmhost.RUNNING


def test_ctl_refuses_a_host_that_does_not_exist(lab):
    done = ctl(lab, "thaw", "3")
    assert done.returncode == 125
    assert "no host 3" in done.stderr


def test_run_passes_output_and_status_and_leaves_no_results():
    done = subprocess.run([RUN, "--env", "A=b", "--", "sh", "-c", "echo $A; echo err >&2; exit 9"],
                          capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (9, "b\n", "err\n")


def test_run_in_several_hosts_prefixes_lines_and_takes_the_first_failure():
    script = "echo one; printf two; exit $((KVMHOST_NODE * 2))"
    done = subprocess.run([RUN, "--hosts", "2", "--", "sh", "-c", script], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 2
    assert sorted(done.stdout.splitlines()) == [
        "host1: one", "host1: two", "host2: one", "host2: two"]


def test_run_at_its_timeout_is_124(tmp_path):
    done = subprocess.run([RUN, "--timeout", "1", "--results", str(tmp_path), "--", "sleep", "100"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 124


def test_run_whose_host_panics_is_125_and_shows_the_console(tmp_path):
    crash = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60"
    done = subprocess.run([RUN, "--results", str(tmp_path), "--", "sh", "-c", crash],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 125
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stderr


def processes_with(word):
    """Those with the word in their command line, of whatever user."""
    return subprocess.run(["pgrep", "-f", word], capture_output=True, text=True).stdout.split()


def network_namespaces():
    return subprocess.run(["lsns", "-n", "-t", "net", "-o", "NS"], capture_output=True, text=True,
                          check=True).stdout.split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_run_leaves_nothing(number, tmp_path):
    name = f"interrupted-{os.getpid()}-{number}"
    folder = images.cache_dir() / "labs" / name
    qemu = f"qemu-system.*{folder}"  # its disk is there
    run = subprocess.Popen([RUN, "--network", "--disk", "64M", "--name", name,
                            "--results", str(tmp_path), "--", "true"])
    assert eventually(lambda: processes_with(qemu))
    namespace = os.readlink(f"/proc/{processes_with(qemu)[0]}/ns/net").strip("net:[]")
    run.send_signal(number)
    assert run.wait(30) == (-number if number == signal.SIGKILL else 128 + number)
    assert eventually(lambda: not processes_with(qemu))
    assert eventually(lambda: namespace not in network_namespaces())
    kvmhost.Lab().stop()  # any lab's start removes the folders of killed ones
    assert not folder.exists()


def test_wrong_use_is_2():
    done = subprocess.run([RUN, "--hosts", "0", "--", "true"], capture_output=True, timeout=30)
    assert done.returncode == 2
