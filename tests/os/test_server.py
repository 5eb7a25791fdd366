"""The server profile under a Debian 12 as installed: what it says of the machine, and that it has
nothing to complain of. Few boots, many questions: a boot takes most of a minute."""

import re

LOGIN = "login: "
PROMPT = "root@guest:~# "
# The prompt comes before the kernel has its driver for the button: a press that nobody heeds is lost,
# as on hardware.
PRESS = (f"{LOGIN}=send:root", f"{PROMPT}=send:udevadm settle", f"{PROMPT}=signal:TERM")
# Modules come after the prompt, and what they tell the console must not fall among a command's output.
QUIETLY = "dmesg -n emerg; udevadm settle"
UUID = "00112233-4455-6677-8899-aabbccddeeff"

# Warnings of the kernel that are no fault of the machine's, each with its reason.
ALLOWED = (
    # The emulated host's processor shows a guest an XSAVE area that does not add up; QEMU's guests
    # on it get the same.
    r"XSAVE consistency problem", r"fpu/xstate\.c", r"fpu__init_system_xstate", r"xstate_offset",
    r"xstate_size", r"Modules linked in:", r"CPU: 0 PID: 0 Comm: swapper",
    r"(Code|R[A-Z0-9]{2}|CS|DR0|CR2|FS|Hardware name|Call Trace|PKRU): ?", r"</?TASK>", r"^ [? ]*\w+\+0x",
    r"CPUID\[0d, ",
    r"---\[ (end trace|cut here)", r"RIP: 0010:",
    # Neither processor nor microcode is the guest's to mend.
    r"Spectre|spectre|Speculative|RETBleed|Retbleed|MDS|microcode|Transient|srso|SRSO|IBPB|STIBP",
    r"unprivileged eBPF",
    # The cloud kernel asks whether it runs on a TPM; it does not.
    r"ima: No TPM chip found",
    # A kernel module of Debian's that is not signed by the key that the kernel has.
    r"module verification failed",
    # No GPT and no journal before the first boot of the copied disk.
    r"systemd", r"EXT4-fs",
    # A very slow host.
    r"clocksource", r"hrtimer: interrupt took", r"workqueue: .* hogged CPU", r"sched: RT throttling",
    r"process '.*' started with executable stack", r"device-mapper: core: CONFIG_IMA",
    r"kauditd_printk_skb",
)


def boot(run, commands, end, *arguments, cmdline="", terminal=False):
    """What each command, typed at the console of a Debian, has printed. `end` is what follows."""
    disk = run.debian_copy()
    typed = [QUIETLY, *commands]
    steps = [f"{LOGIN}=send:root", *(f"{PROMPT}=send:{command}" for command in typed), *end]
    ended = run.stock(disk, "--profile", "server", *arguments, cmdline=cmdline, timeout=900,
                      terminal=terminal, steps=steps)
    assert ended.status == 0, ended
    run.in_host("/usr/sbin/e2fsck", "-fn", disk)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ended.console).replace("\r", "")
    parts = plain.split(PROMPT)
    assert len(parts) > len(typed) + 1, ended
    return [part.split("\n", 1)[1] for part in parts[2:len(typed) + 1]]


def complaints(dmesg):
    allowed = re.compile("|".join(ALLOWED))
    return [line for line in dmesg.splitlines()
            if line.strip() and not allowed.search(re.sub(r"^\[[^]]*\] ", "", line))]


DMESG = "dmesg --level=emerg,alert,crit,err,warn"


def test_debian_on_four_cpus_sees_a_sound_machine_reboots_and_obeys_the_power_button(run):
    dmesg, lspci, interrupts, dmi, found = boot(
        run, [DMESG, "lspci -vv", "cat /proc/interrupts", "dmidecode -t 1,3",
              "echo cpus=$(nproc) driven=$(ls /sys/bus/virtio/drivers/*/ | grep -c ^virtio)"],
        [f"{PROMPT}=send:systemctl reboot", *PRESS],
        "--cpus", 4, "--uuid", UUID, "--smbios", "product=Web,serial=S-1,asset=A-42",
        "--balloon", "on", "--channel", "name=org.gemel.agent.0,path=/run/agent.sock",
        "--vsock", "path=/run/vsock.sock")
    assert complaints(dmesg) == []
    check_lspci(lspci, disk="00:01.0", functions=6)
    # Of a disk with one queue: its configuration and its queue.
    assert len(re.findall(r"PCI-MSI.*virtio0-(?:config|req\.0)", interrupts)) == 2, interrupts
    for said in (f"UUID: {UUID}", "Product Name: Web", "Serial Number: S-1", "Asset Tag: A-42"):
        assert said in dmi, dmi
    assert "cpus=4 driven=5" in found, found


def check_lspci(lspci, disk, functions):
    found = {part.split()[0]: part for part in lspci.split("\n\n") if part.strip()}
    expected = ["00:00.0", *(f"00:{i:02x}.0" for i in range(1, functions)),
                *(f"00:1c.{i}" for i in range(8)), "00:1f.0"]
    assert list(found) == expected, lspci
    assert "MSI-X: Enable+" in found[disk], found[disk]
    for i in range(1, functions):
        assert "Kernel driver in use: virtio-pci" in found[f"00:{i:02x}.0"], lspci
        assert "FLReset+" in found[f"00:{i:02x}.0"], lspci
    assert "Kernel driver in use: pcieport" in found["00:1c.7"]
    for complaint in ("!!!", "unassigned", "disabled]", "Unknown", "CorrErr+", "UncorrErr+", "FatalErr+"):
        assert complaint not in lspci, lspci


# logind tells of the key and then would suspend the guest.
NO_SUSPEND = ("mkdir -p /run/systemd/logind.conf.d; cd /run/systemd/logind.conf.d; "
              "printf '[Login]\\nHandleSuspendKey=ignore\\n' >sleep.conf; cd; "
              "systemctl restart systemd-logind; journalctl -f -u systemd-logind &")
SLEEP_BUTTON = "\x1ds"  # of the menu


def test_without_msi_interrupts_arrive_by_the_pin_3_gib_are_seen_and_the_sleep_button_reaches_logind(run):
    interrupts, memory, dmesg = boot(
        run, ["cat /proc/interrupts", "grep MemTotal /proc/meminfo", DMESG],
        [f"{PROMPT}=send:{NO_SUSPEND}", f"{PROMPT}=send:{SLEEP_BUTTON}",
         "Suspend key pressed=send:systemctl poweroff"],
        "--memory", "3G", cmdline="pci=nomsi", terminal=True)
    assert re.search(r"IO-APIC.*fasteoi.*virtio", interrupts), interrupts
    assert "PCI-MSI" not in interrupts, interrupts
    assert 2.7 * 2**20 < int(memory.split()[1]) < 3 * 2**20, memory
    assert complaints(dmesg) == []


def test_panic_ends_with_3(run):
    ended = run.tiny("panic", "--profile", "server", cmdline="panic=0")
    assert ended.status == 3, ended
    assert "the guest's kernel panicked" in ended.log, ended
