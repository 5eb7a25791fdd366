"""How each VMM is started for the guest of tests/guests/bench: one vCPU, one device. What is the
same for the guest is the same here, and each VMM has its fastest settings.

A machine is "mmio" (Gemel's micro profile beside QEMU's microvm) or "pci" (server beside q35)."""

import vmms

MEMORY = "256M"


def gemel(machine, program, guest, words, *device):
    # Without ACPI the guest finds devices behind virtio-mmio on its command line.
    profile = {"mmio": ["--profile", "micro", "--acpi", "off"], "pci": ["--profile", "server"]}
    return [program, "run", *profile[machine], "--cpus", "1", "--cpu", "host",
            "--memory", MEMORY, "--rng", "off", "--serial", "stdio", "--on-reboot", "exit",
            "--kernel", guest, "--cmdline", f"{words} transport={machine} end=reset", *device]


def qemu(machine, guest, words, *device):
    # debug-threads gives the threads of vCPUs their names.
    kind = {"mmio": ["-M", "microvm,acpi=off,rtc=on,pit=on,kernel-irqchip=on",
                     "-global", "virtio-mmio.force-legacy=false"],
            "pci": ["-M", "q35,kernel-irqchip=on"]}
    return ["qemu-system-x86_64", "-name", "bench,debug-threads=on", *kind[machine],
            "-accel", "kvm", "-cpu", vmms.PEER_CPU, "-smp", "1", "-m", MEMORY, "-nodefaults",
            "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel", guest, "-append", f"{words} transport={machine}", *device]


def gemel_disk(path):
    return ["--disk", f"path={path},engine=io_uring"]


def qemu_disk(machine, path, aio):
    return ["-object", "iothread,id=worker",
            "-drive", f"file={path},format=raw,if=none,id=disk,aio={aio}",
            "-device", f"{_device(machine, 'blk')},drive=disk,iothread=worker"]


def gemel_tap(name, vhost):
    return ["--net", f"tap={name},vhost={vhost}"]


def qemu_tap(machine, name, vhost):
    return ["-netdev", f"tap,id=net,ifname={name},script=no,downscript=no,vhost={vhost}",
            "-device", f"{_device(machine, 'net')},netdev=net"]


def _device(machine, kind):
    return f"virtio-{kind}-{'device' if machine == 'mmio' else 'pci'}"
