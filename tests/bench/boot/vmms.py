"""How each VMM is started for a guest of one vCPU and 256 MiB. The command lines are the comparison:
what is the same for the guest is the same here, and each VMM has its fastest settings."""

from dataclasses import dataclass
from typing import Optional

MEMORY_MIB = 256
# QEMU 7.2 sets an MSR of Intel's for it, which KVM on some processors of AMD refuses.
PEER_CPU = "host,arch-capabilities=off"


@dataclass(frozen=True)
class Guest:
    kernel: str
    initrd: str
    cmdline: str
    disk: Optional[str] = None  # a raw file; with it comes an entropy device


def gemel(program, guest):
    argv = [program, "run", "--profile", "micro", "--cpus", "1", "--cpu", "host",
            "--memory", f"{MEMORY_MIB}M", "--serial", "stdio", "--on-reboot", "exit",
            "--kernel", guest.kernel, "--initrd", guest.initrd, "--cmdline", guest.cmdline]
    if guest.disk:
        argv += ["--disk", f"path={guest.disk}", "--rng", "on"]
    return argv


def qemu(program, guest):
    # Of microvm's settings these gave the fewest exits to user space with Debian's kernel: 552; by
    # default, with its IOAPICs in user space, it has 1605. ACPI is on, as Debian's kernel finds
    # virtio devices by ACPI alone.
    argv = [program, "-M", "microvm,acpi=on,rtc=on,pit=off,ioapic2=off,x-option-roms=off,"
                           "kernel-irqchip=on",
            "-accel", "kvm", "-cpu", PEER_CPU, "-smp", "1", "-m", f"{MEMORY_MIB}M",
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
            "-no-reboot",
            "-kernel", guest.kernel, "-initrd", guest.initrd, "-append", guest.cmdline]
    if guest.disk:
        argv += ["-drive", f"file={guest.disk},format=raw,if=none,id=disk,cache=none,aio=io_uring",
                 "-device", "virtio-blk-device,drive=disk",
                 "-device", "virtio-rng-device"]
    return argv


COMMANDS = {"gemel": gemel, "qemu": qemu}
