"""How each VMM is started for the guest of tests/guests/bench: one vCPU, one device. What is the
same for the guest is the same here, and each VMM has its fastest settings."""

MEMORY = "256M"


def gemel(program, guest, words, *device):
    """micro profile, without ACPI: the guest finds its device on the command line."""
    return [program, "run", "--profile", "micro", "--acpi", "off", "--cpus", "1", "--cpu", "host",
            "--memory", MEMORY, "--rng", "off", "--serial", "stdio", "--on-reboot", "exit",
            "--kernel", guest, "--cmdline", f"{words} end=reset", *device]


def qemu(guest, words, *device):
    """microvm, without ACPI for the same reason; debug-threads names the threads of vCPUs."""
    return ["qemu-system-x86_64", "-name", "bench,debug-threads=on",
            "-M", "microvm,acpi=off,rtc=on,pit=on,kernel-irqchip=on", "-accel", "kvm",
            "-cpu", "host", "-smp", "1", "-m", MEMORY, "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot",
            "-global", "virtio-mmio.force-legacy=false",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel", guest, "-append", words, *device]


def gemel_disk(path):
    return ["--disk", f"path={path},engine=io_uring"]


def qemu_disk(path, aio):
    return ["-object", "iothread,id=worker",
            "-drive", f"file={path},format=raw,if=none,id=disk,aio={aio}",
            "-device", "virtio-blk-device,drive=disk,iothread=worker"]


def qemu_tap(name):
    return ["-netdev", f"tap,id=net,ifname={name},script=no,downscript=no,vhost=off",
            "-device", "virtio-net-device,netdev=net"]
