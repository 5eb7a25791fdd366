"""Emulated KVM hosts for tests: Lab starts them, Host runs commands in one and harms it.

    with kvmhost.Lab(hosts=2, disk="1G") as lab:
        one, two = lab.hosts
        assert one.run(["ping", "-c1", two.address]).returncode == 0
        two.power_cut()

README.md says what a host is; HostDied, TimeoutError and OSError are what can go wrong.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from typing import Optional

import control
import images
import qemu
from channel import Channel, HostDied
from guest import wire
from network import Nest

START_TIMEOUT = 180  # a loaded machine of two cores boots several hosts under systemd in this time
# QEMU 7.2 is not free of races (qemu.py, guest/agent.py): about one start in hundreds stops in the middle.
STARTS = 2
STARTED_AGAIN = "an emulated host was started again"  # ./check counts these words
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OFF, RUNNING, STOPPED, PAUSED = "off", "running", "stopped", "paused"


@dataclass
class Config:
    """What a lab is made of. Sizes as QEMU and mkfs take them: "4G"."""

    hosts: int = 1
    memory: Optional[str] = None  # of each host; None: 4G for one, 3G for several
    cpus: Optional[int] = None    # of each host; None: 2 for one, 1 for several
    disk: Optional[str] = None    # an ext4 of this size at /disk in each host
    modules: tuple = ()           # kernel modules to load, by name
    systemd: bool = False
    network: Optional[bool] = None  # None: when there are several hosts
    results: Optional[str] = None   # None: a new temporary folder, removed at the end if empty
    env: Optional[dict] = None      # for every command
    name: Optional[str] = None      # for ctl; None: chosen

    def __post_init__(self):
        several = self.hosts > 1
        self.memory = self.memory or ("3G" if several else "4G")
        self.cpus = self.cpus or (1 if several else 2)
        self.network = several if self.network is None else self.network


class Lab:
    """One or more hosts with a network and disks of their own, all gone at stop().

    Also gone, but for its folder, when this process is killed; the next lab removes that.
    """

    def __init__(self, **config):
        self.config = Config(**config)
        self.folder, self._lock = _make_folder(self.config.name)
        self.name = self.folder.name
        self.stopping = threading.Event()  # set by ctl's `stop`: whoever runs the lab should end it
        self._nest = None
        self._server = None
        self.results = None
        self.hosts = []

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Boots every host, side by side. stop() must follow, also when this fails."""
        kernel = images.kernel()
        initramfs = images.initramfs(kernel)
        debian = images.debian() if self.config.systemd else None
        self.results = self._make_results()
        self._nest = Nest(self.config.network)
        for node in range(1, self.config.hosts + 1):
            machine = qemu.Machine(
                node=node, vmlinux=kernel.vmlinux, initramfs=initramfs, modules=kernel.modules,
                results=self.results, memory=self.config.memory, cpus=self.config.cpus,
                disk=self._make_disk(node), debian=debian, network=self.config.network)
            self.hosts.append(Host(self, machine, self._nest))
        for host in self.hosts:
            host.forget_logs()
            host.launch()
        for host in self.hosts:
            host.wait_up()
        self._server = control.Server(self)
        return self

    def stop(self):
        """Ends every host at once and removes what the lab made, but for results."""
        self.stopping.set()
        if self._server:
            self._server.close()
            self._server = None
        for host in self.hosts:
            host.power_cut()
        if self._nest:
            self._nest.close()
            self._nest = None
        if self.results and self.config.results is None:
            self._tidy_results()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def host(self, node):
        """The host with this number, from 1."""
        if not 1 <= node <= len(self.hosts):
            raise ValueError(f"no host {node}: this lab has 1 to {len(self.hosts)}")
        return self.hosts[node - 1]

    def describe(self):
        """One line for each host: number, address, state, cable, QEMU's process."""
        return "\n".join(host.describe() for host in self.hosts)

    def namespace(self):
        """A path of the lab's network namespace, for nsenter --net=; valid as long as the lab."""
        if not self._nest or not self._nest.network:
            raise ValueError("this lab has no network")
        return f"/proc/{os.getpid()}/fd/{self._nest.namespace}"

    def popen(self, argv, **options):
        """A process outside the hosts on the lab's network (10.77.0.254), ended with the lab."""
        return self._nest.popen(argv, **options)

    def _make_results(self):
        if self.config.results is None:
            return pathlib.Path(tempfile.mkdtemp(prefix="kvmhost-results-"))
        path = pathlib.Path(self.config.results).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _tidy_results(self):
        """A folder of our own that holds nothing but logs of hosts that did well is of no use."""
        files = set(self.results.iterdir())
        logs = {path for host in self.hosts for path in host.logs()}
        if files <= logs and not any(host.failed for host in self.hosts):
            shutil.rmtree(self.results)

    def _make_disk(self, node):
        if not self.config.disk:
            return None
        path = self.folder / f"disk{node}.img"
        images.make_disk(path, self.config.disk)
        return path


class Host:
    """One emulated host. Its methods may be called from any thread, verbs one at a time."""

    def __init__(self, lab, machine, nest):
        self.lab = lab
        self.node = machine.node
        self.address = f"10.77.0.{machine.node}"
        self.plugged = True
        self.failed = False
        self._machine = machine
        self._nest = nest
        self._process = None
        self._channel = None
        self._frozen = None  # or STOPPED, PAUSED
        self._lock = threading.RLock()
        if machine.network:
            nest.add_tap(machine.node)

    @property
    def state(self):
        """OFF also after a panic or a reboot: QEMU ends with either."""
        if self._process is None or not self._process.alive():
            return OFF
        return self._frozen or RUNNING

    def describe(self):
        cable = "plugged" if self.plugged else "unplugged"
        return f"host{self.node} {self.address} {self.state} {cable} {self.pid or '-'}"

    @property
    def pid(self):
        """QEMU's process, None when off."""
        return None if self.state == OFF else self._process.pid

    # Commands.

    def start(self, argv, cwd=None, env=None):
        """Starts a command; a channel.Job. HostDied when the host is not running."""
        if self._channel is None:
            raise HostDied(f"host{self.node} is off")
        base = {"PATH": PATH, "HOME": "/root", "TERM": "linux", "LANG": "C.UTF-8", "KVMHOST": "1",
                "KVMHOST_NODE": str(self.node), "KVMHOST_RESULTS": "/results"}
        if self._machine.disk:
            base["KVMHOST_DISK"] = "/disk"
        base |= (self.lab.config.env or {}) | (env or {})
        return self._channel.start(argv, cwd or os.getcwd(), base)

    def run(self, argv, timeout=None, check=False, **options):
        """Runs a command to its end; a CompletedProcess with bytes, like subprocess.run.

        At the timeout the command's process group is killed and subprocess.TimeoutExpired raised.
        """
        output = {wire.OUT: bytearray(), wire.ERR: bytearray()}
        job = self.start(argv, **options)
        try:
            status = job.wait(lambda kind, data: output[kind].extend(data), timeout)
        except TimeoutError:
            job.signal(9)
            raise subprocess.TimeoutExpired(argv, timeout, bytes(output[wire.OUT]),
                                            bytes(output[wire.ERR])) from None
        done = subprocess.CompletedProcess(argv, status, bytes(output[wire.OUT]),
                                           bytes(output[wire.ERR]))
        if check:
            done.check_returncode()
        return done

    # Power.

    def power_on(self):
        """Boots it and waits until it runs commands. Its disk is as the last flush left it."""
        self.launch()
        self.wait_up()

    def launch(self):
        """Starts it without waiting."""
        with self._lock:
            if self.state != OFF:
                raise ValueError(f"host{self.node} is {self.state}")
            self._set_cable()
            self._process = qemu.Process(self._machine, self._nest)
            self._channel = Channel(self._process.agent)
            self._frozen = None

    def wait_up(self, timeout=START_TIMEOUT):
        """Waits until it runs commands and loads the modules asked for."""
        try:
            self._wait_ready(timeout)
            self._set_cable()
            if self._machine.debian:
                self.run(["systemctl", "is-system-running", "--wait"], cwd="/")
            if self.lab.config.modules:
                self.run(["modprobe", "-a", *self.lab.config.modules], cwd="/", check=True)
        except (HostDied, TimeoutError, subprocess.CalledProcessError) as error:
            self.failed = True
            stderr = getattr(error, "stderr", None) or b""
            detail = stderr.decode(errors="replace") or self.console_tail()
            raise HostDied(f"host{self.node}: {error}\n{detail}") from error

    def _wait_ready(self, timeout):
        for left in reversed(range(STARTS)):
            try:
                self._channel.wait_ready(timeout)
                return
            except TimeoutError:
                where = self._keep_evidence()
                if not left:
                    raise
            warnings.warn(f"{STARTED_AGAIN}: host{self.node} was not up within {timeout} s; what its "
                          f"processors did is in {where}", RuntimeWarning, stacklevel=2)
            self.power_cut()
            self.launch()

    def _keep_evidence(self):
        """Where its processors are, some times in a row, and its console."""
        path = self._machine.results / f"stuck-host{self.node}-{time.time_ns()}.log"
        with open(path, "w", encoding="utf-8") as file, contextlib.suppress(OSError):
            file.write(self.console_tail())
            for _ in range(5):
                command = {"command-line": "info registers -a"}
                file.write(self._process.monitor("human-monitor-command", **command))
                time.sleep(0.2)
        return path

    def power_cut(self):
        """A power failure: first its packets vanish, then the machine. Harmless when it is off."""
        with self._lock:
            if self._process is None:
                return
            # In this order: a killed QEMU's sockets may send resets, as no dead machine does.
            if self._machine.network:
                self._nest.set_tap(self.node, up=False)
            self._process.kill()

    def power_off(self, timeout=60):
        """An orderly end: buffers written, file systems unmounted."""
        argv = (["systemctl", "poweroff"] if self._machine.debian else
                ["sh", "-c", "sync; umount /disk; /run/kvmhost/busybox poweroff -f"])
        with contextlib.suppress(HostDied):
            self.start(argv, cwd="/")
        self._process.wait(timeout)

    # Cables and time.

    def pull_cable(self):
        """Its packets vanish and it sees no carrier."""
        self.plugged = False
        self._set_cable()

    def plug_cable(self):
        self.plugged = True
        self._set_cable()

    def freeze(self, kind=STOPPED):
        """STOPPED: SIGSTOP, its clocks jump ahead at thaw(). PAUSED: by QMP, no clock moves."""
        with self._lock:
            if self.state != RUNNING or kind not in (STOPPED, PAUSED):
                raise ValueError(f"cannot freeze host{self.node} ({self.state}) as {kind!r}")
            if kind == STOPPED:
                self._process.stop_process()
            else:
                self._process.monitor("stop")
            self._frozen = kind

    def thaw(self):
        """Ends a freeze of either kind; harmless when there is none."""
        with self._lock:
            state, self._frozen = self.state, None
            if state == STOPPED:
                self._process.continue_process()
                self._set_cable()
            elif state == PAUSED:
                self._process.monitor("cont")

    def set_clock_rate(self, percent):
        """Its clocks, all but CLOCK_MONOTONIC_RAW, run at 90 to 110 % of their rate until it is off."""
        self.run(["/run/kvmhost/busybox", "adjtimex", "-q", "-t", str(percent * 100)], cwd="/", check=True)

    def step_clock(self, seconds):
        """CLOCK_REALTIME alone."""
        self.run(["sh", "-c", f"date -s @$(($(date +%s) + {seconds}))"], cwd="/", check=True)

    def freeze_disk(self):
        """Whoever writes to /disk waits until thaw_disk()."""
        self.run(["/sbin/fsfreeze", "--freeze", "/disk"], cwd="/", check=True)

    def thaw_disk(self):
        self.run(["/sbin/fsfreeze", "--unfreeze", "/disk"], cwd="/", check=True)

    def _set_cable(self):
        """Brings tap and carrier to what `plugged` says, as far as the host's state lets it."""
        if not self._machine.network:
            return
        with self._lock:
            self._nest.set_tap(self.node, self.plugged)
            if self.state in (RUNNING, PAUSED):
                self._process.monitor("set_link", name="nic0", up=self.plugged)

    # What it left.

    def forget_logs(self):
        """Removes what hosts of an earlier lab left in the same results folder."""
        for path in self.logs():
            path.unlink(missing_ok=True)

    def logs(self):
        names = (f"console-host{self.node}.log", f"qemu-host{self.node}.log")
        return [self._machine.results / name for name in names]

    def console_tail(self, lines=60):
        """The last lines of its kernel's console and of QEMU's own messages."""
        texts = [path.read_text(errors="replace") for path in self.logs() if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-lines:]) for text in texts)


def _make_folder(name):
    """A folder for a lab, and the lock that says that it is in use; removes those of dead labs."""
    labs = images.cache_dir() / "labs"
    labs.mkdir(mode=0o700, exist_ok=True)
    with images.locked("labs.lock"):
        for old in labs.iterdir():
            with contextlib.suppress(OSError), open(old / "lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old)
        folder = labs / (name or f"lab-{os.getpid()}-{os.urandom(3).hex()}")
        if folder.exists():
            raise FileExistsError(f"there is a lab named {name}")
        folder.mkdir(mode=0o700)
        lock = open(folder / "lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock
