"""One emulated machine: QEMU's TCG as an AMD processor with SVM and nested paging.

The monitor and the agent's port are socket pairs, so no socket files exist, and both report the end
of QEMU by themselves.
"""

import json
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import tsc
from guest import wire

# Guests never run on a host's first processor; the host's own programs neither. QEMU 7.2 keeps SVM's
# global interrupt flag and whether paging is nested in one word of each processor (hflags2), and any
# processor that loads FPU state clears a bit in that word of the *first* one, without a lock
# (cpu_clear_ignne): now and then a change the first one makes there at the same time is lost. Then that
# host takes no interrupts any more, or its guest walks page tables at host addresses.
SPARE_CPU = 0

@dataclass(frozen=True)
class Machine:
    """What a host is made of; files must exist."""

    node: int
    vmlinux: Path
    initramfs: Path
    modules: Path
    results: Path
    memory: str = "4G"
    cpus: int = 2  # for programs and guests
    disk: Optional[Path] = None
    debian: Optional[Path] = None
    network: bool = False

    @property
    def console(self):
        return self.results / f"console-host{self.node}.log"

    def kernel_cmdline(self):
        # Some 32 words are the most: with more the kernel panics at start-up.
        # no_timer_check: on a busy machine the kernel finds its timer broken, which ticks too late for it.
        words = ["console=ttyS0", "quiet", "panic=-1", "mitigations=off", "tsc=reliable",
                 "no_timer_check", f"isolcpus={SPARE_CPU}",
                 f"tsc_early_khz={tsc.khz()}", "net.ifnames=0", f"kvmhost.node={self.node}"]
        if self.debian:
            words.append("kvmhost.systemd")
        return " ".join(words)

    def argv(self, agent_fd, monitor_fd):
        argv = ["qemu-system-x86_64", "-name", f"kvmhost-{self.node}", "-M", "q35",
                "-accel", "tcg,thread=multi", "-cpu", "max,svm=on,npt=on",
                "-smp", str(1 + self.cpus), "-m", self.memory, "-nodefaults", "-display", "none",
                "-no-reboot", "-kernel", str(self.vmlinux), "-initrd", str(self.initramfs),
                "-append", self.kernel_cmdline(),
                "-chardev", f"file,id=console,append=on,path={_escape(self.console)}",
                "-serial", "chardev:console",
                "-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "monitor,mode=control",
                "-chardev", f"socket,id=agent,fd={agent_fd}", "-device", "virtio-serial-pci",
                "-device", f"virtserialport,chardev=agent,name={wire.PORT_NAME}"]
        argv += _folder("root", "/", read_only=True)
        argv += _folder("modules", self.modules, read_only=True)
        argv += _folder("results", self.results, read_only=False)
        if self.disk:
            # What the host has flushed outlives QEMU all the same; our disk must not slow it.
            argv += _disk("disk", self.disk, "cache=unsafe")
        if self.debian:
            argv += _disk("debian", self.debian, "readonly=on")
        if self.network:
            argv += ["-netdev", f"tap,id=net0,ifname=tap{self.node},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev=net0,id=nic0,romfile=,"
                                f"mac=52:54:00:77:00:{self.node:02x}"]
        return argv


def _escape(path):
    return str(path).replace(",", ",,")  # QemuOpts: a comma separates options


def _folder(tag, path, read_only):
    return ["-virtfs", f"local,path={_escape(path)},mount_tag={tag},security_model=none,"
                       f"multidevs=remap,readonly={'on' if read_only else 'off'}"]


def _disk(serial, path, options):
    return ["-drive", f"file={_escape(path)},format=raw,if=none,id={serial},{options}",
            "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]


class Process:
    """A running QEMU. Its caller owns agent, the socket to the agent's port."""

    def __init__(self, machine, nest):
        self.agent, agent_far = socket.socketpair()
        self._monitor, monitor_far = socket.socketpair()
        log = open(machine.results / f"qemu-host{machine.node}.log", "ab")
        with agent_far, monitor_far, log:
            far = (agent_far.fileno(), monitor_far.fileno())
            self._popen = nest.popen(machine.argv(*far), pass_fds=far, start_new_session=True,
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._replies = self._monitor.makefile("rb")
        self._greeted = False

    @property
    def pid(self):
        return self._popen.pid

    def alive(self):
        return self._popen.poll() is None

    def kill(self):
        """Ends it at once, stopped or not, and waits until its files are released."""
        self._popen.kill()
        self._popen.wait()
        self._monitor.close()

    def wait(self, timeout):
        """Waits until it ends by itself; subprocess.TimeoutExpired when it does not."""
        self._popen.wait(timeout)
        self._monitor.close()

    def stop_process(self):
        self._popen.send_signal(signal.SIGSTOP)

    def continue_process(self):
        self._popen.send_signal(signal.SIGCONT)

    def monitor(self, command, **arguments):
        """One QMP command; its return value. OSError when QEMU refuses it or is gone."""
        if not self._greeted:
            self._greeted = True
            self._replies.readline()
            self.monitor("qmp_capabilities")
        request = {"execute": command, "arguments": arguments}
        self._monitor.sendall(json.dumps(request).encode())
        for line in self._replies:
            reply = json.loads(line)
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise OSError(f"QMP {command}: {reply['error']['desc']}")
        raise OSError(f"QMP {command}: QEMU has ended")
