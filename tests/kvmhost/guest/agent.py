"""Runs in an emulated host: starts the tool's commands and sends their output and status back.

One thread, one poll loop; jobs run side by side. A job ends when its process ends: what daemons
that it left behind still write to its pipes is read (they must not get SIGPIPE) and dropped.
"""

import errno
import fcntl
import os
import select
import signal
import time

import wire

SYS_PORTS = "/sys/class/virtio-ports"
LARGEST_PIPE = 1 << 20  # /proc/sys/fs/pipe-max-size
KVM_CREATE_VM, KVM_CREATE_IRQCHIP, KVM_CREATE_VCPU = 0xAE01, 0xAE60, 0xAE41


def keep_a_machine():
    """A machine that never runs; what it consists of.

    The kernel patches its own code when the first machine comes and the last one goes, in the middle of
    its scheduler, and KVM's when a local APIC is switched on. QEMU 7.2 loses such a patch now and then:
    a processor that translates the code just as another writes it keeps the breakpoint it found there,
    and all of them run into it for ever (mended in 8.1: "accel/tcg: Always lock pages before translation").
    As long as one machine is there, with an APIC that is off, nothing is patched.
    """
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    fcntl.ioctl(machine, KVM_CREATE_IRQCHIP, 0)
    return kvm, machine, fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)


def open_port():
    """The file descriptor of the port named PORT_NAME; waits until the driver has made it."""
    while True:
        for port in os.listdir(SYS_PORTS) if os.path.isdir(SYS_PORTS) else []:
            with open(f"{SYS_PORTS}/{port}/name", encoding="ascii") as name:
                if name.read().strip() == wire.PORT_NAME and os.path.exists(f"/dev/{port}"):
                    return os.open(f"/dev/{port}", os.O_RDWR | os.O_CLOEXEC)
        time.sleep(0.05)


def exec_command(cwd, argv, env, out, err):
    """Becomes the command; never returns. What cannot be started ends as in a shell: 126, 127."""
    status = 126
    try:
        os.setpgid(0, 0)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.chdir(cwd)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        status = 127 if error.errno == errno.ENOENT else 126
        os.write(2, b"kvmhost: %s: %s\n" % (argv[0], os.strerror(error.errno).encode()))
    finally:
        os._exit(status)


class Job:
    """A command's process and what is still open of its output."""

    def __init__(self, number, command):
        self.number = number
        self.running = True
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        self.pipes = {out: wire.OUT, err: wire.ERR}
        self.pid = os.fork()
        if self.pid == 0:
            exec_command(*command, out_write, err_write)
        try:
            os.setpgid(self.pid, self.pid)  # here too: a SIGNAL may come before the child has run
        except OSError:
            pass  # it has run, and is another program already
        self.pidfd = os.pidfd_open(self.pid)
        for fd in (out_write, err_write):
            os.close(fd)
        for fd in self.pipes:
            os.set_blocking(fd, False)


class Agent:
    def __init__(self, port):
        self._port = port
        self._poll = select.poll()
        self._poll.register(port, select.POLLIN)
        self._by_fd = {}  # pipes and pidfds -> Job
        self._jobs = {}   # number -> Job, while its process runs

    def serve(self):
        decoder = wire.Decoder()
        self._send(wire.READY, 0)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._port:
                    for frame in decoder.feed(os.read(fd, wire.CHUNK)):
                        self._handle(*frame)
                elif fd in self._by_fd:
                    self._on_job(fd, self._by_fd[fd])

    def _handle(self, kind, number, payload):
        if kind == wire.RUN:
            job = Job(number, wire.unpack_run(payload))
            self._jobs[number] = job
            for fd in (*job.pipes, job.pidfd):
                self._by_fd[fd] = job
                self._poll.register(fd, select.POLLIN)
        elif kind == wire.SIGNAL and number in self._jobs:
            os.killpg(self._jobs[number].pid, int(payload))

    def _on_job(self, fd, job):
        if fd == job.pidfd:
            self._finish(job)
        else:
            self._forward(fd, job)

    def _finish(self, job):
        pid, status = os.waitpid(job.pid, os.WNOHANG)
        if pid == 0:
            return  # an event of the descriptor's former owner
        code = os.waitstatus_to_exitcode(status)
        for fd in list(job.pipes):
            self._forward(fd, job, LARGEST_PIPE)
        self._send(wire.EXIT, job.number, b"%d" % (code if code >= 0 else 128 - code))
        job.running = False
        del self._jobs[job.number]
        self._close(job.pidfd)

    def _forward(self, fd, job, limit=wire.CHUNK):
        try:
            data = os.read(fd, limit)
        except BlockingIOError:
            return
        if not data:
            del job.pipes[fd]
            self._close(fd)
        elif job.running:
            self._send(job.pipes[fd], job.number, data)

    def _close(self, fd):
        self._poll.unregister(fd)
        del self._by_fd[fd]
        os.close(fd)

    def _send(self, kind, number, payload=b""):
        data = wire.pack(kind, number, payload)
        while data:
            data = data[os.write(self._port, data):]


if __name__ == "__main__":
    kept = keep_a_machine()
    Agent(open_port()).serve()
