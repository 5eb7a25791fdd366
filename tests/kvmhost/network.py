"""A lab's private network: a namespace without a name, a bridge, one tap a host.

The namespace belongs to one thread and to the processes that this thread starts: when they are
gone, however they went, the kernel removes it with the bridge and the taps. Nothing stays behind.
"""

import concurrent.futures
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
BRIDGE = "br0"
OUTSIDE = "10.77.0.254"  # the lab's own address on the bridge, for a witness outside the hosts


class Nest:
    """A thread from which a lab's processes are started; they die with it, so also by SIGKILL.

    The kernel sends the parent-death signal when the *thread* that started a process ends: QEMUs
    started by some short-lived thread would die with that. This one lives as long as the lab.
    """

    def __init__(self, network):
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "kvmhost-nest")
        self.network = network
        if network:
            self._thread.submit(_enter_new_network).result()
            self.namespace = self._thread.submit(_thread_namespace).result()
            self._ip("link", "set", "lo", "up")
            self._ip("link", "add", BRIDGE, "type", "bridge")
            self._ip("addr", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
            self._ip("link", "set", BRIDGE, "up")

    def popen(self, argv, **options):
        """subprocess.Popen in the lab's network, killed when the lab's process ends."""
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        return self._thread.submit(subprocess.Popen, argv, **options).result()

    def add_tap(self, node):
        self._ip("tuntap", "add", "dev", f"tap{node}", "mode", "tap")
        self._ip("link", "set", f"tap{node}", "master", BRIDGE, "up")

    def set_tap(self, node, up):
        self._ip("link", "set", f"tap{node}", "up" if up else "down")

    def close(self):
        if self.network:
            os.close(self.namespace)
        self._thread.shutdown()

    def _ip(self, *words):
        done = self._thread.submit(subprocess.run, ["ip", *words], stdin=subprocess.DEVNULL,
                                   capture_output=True, text=True).result()
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _enter_new_network():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: a network of its own needs root")


def _thread_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
