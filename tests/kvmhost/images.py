"""The cache of what emulated hosts boot from: Debian's stock kernel and the initramfs.

Everything is made once under a lock, in a temporary place, and renamed when complete; what has its
final name is never changed, so readers need no lock. Nothing needs the network once it is there.
"""

import contextlib
import fcntl
import hashlib
import lzma
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
GUEST = HERE / "guest"

GUEST_FILES = ("agent.py", "wire.py", "kvmhost-agent.service")  # and init

# What a host needs before it sees the caller's /lib/modules, in the order it is loaded.
BOOT_MODULES = (
    "virtio_pci", "9p", "9pnet_virtio", "overlay", "virtio_console", "virtio_blk", "ext4",
    "virtio_net", "kvm_amd", "tun", "vhost_net", "softdog",
)

# What a host under systemd has beside minimal Debian; the rest of its programs are the caller's.
DEBIAN_PACKAGES = ("systemd-sysv", "dbus", "udev", "libpam-systemd", "kmod", "iproute2",
                   "python3-minimal")
# What is made void in it: units that only cost time in a host that lives for minutes, and all that
# would delete the caller's files in /tmp from the host's view, at start-up or later.
MASKED = tuple(f"etc/systemd/system/{unit}" for unit in (
    "apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "e2scrub_reap.service", "getty@.service", "modprobe@.service",
    "serial-getty@.service", "systemd-binfmt.service", "systemd-tmpfiles-clean.timer",
)) + ("etc/tmpfiles.d/tmp.conf",)


class ImageError(Exception):
    """An image could not be made; the message says which step failed and what it printed."""


@dataclass(frozen=True)
class Kernel:
    release: str
    vmlinux: pathlib.Path  # uncompressed: its own xz would take the emulated processor 4 s
    modules_root: pathlib.Path  # holds lib/modules/RELEASE

    @property
    def modules(self):
        return self.modules_root / "lib/modules" / self.release


def cache_dir():
    """$GEMEL_CACHE, or gemel under the user's cache folder; made when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(os.environ.get("GEMEL_CACHE") or pathlib.Path(base) / "gemel") / "kvmhost"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextlib.contextmanager
def locked(name="lock"):
    """Holds a lock of the cache folder against other processes."""
    with open(cache_dir() / name, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kernel():
    """The newest cached kernel; downloads and unpacks linux-image-amd64 when there is none."""
    with locked():
        found = _cached_kernels()
        if not found:
            _unpack_kernel()
            found = _cached_kernels()
        return found[-1]


def initramfs(for_kernel):
    """The initramfs for this kernel; its name has a hash of all that makes it what it is."""
    target = cache_dir() / f"initramfs-{for_kernel.release}-{_recipe_hash()}.cpio"
    with locked():
        if not target.exists():
            with _scratch() as scratch:
                _build_initramfs(for_kernel, scratch)
                _remove_old_initramfs()
                os.rename(scratch / "initramfs.cpio", target)
    return target


def debian():
    """An ext4 image, to be mounted read-only, of a minimal Debian of the caller's release."""
    release = _debian_release()
    recipe = hashlib.sha256(" ".join(DEBIAN_PACKAGES + MASKED).encode()).hexdigest()[:16]
    target = cache_dir() / f"debian-{release}-{recipe}.ext4"
    with locked():
        if not target.exists():
            with _scratch() as scratch:
                root, image = scratch / "root", scratch / "image"
                _call(["mmdebstrap", "--variant=minbase", "--include", ",".join(DEBIAN_PACKAGES),
                       release, str(root)])
                for path in MASKED:
                    os.symlink("/dev/null", root / path)
                _call(["truncate", "-s", "2G", str(image)])
                _call(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", str(root), str(image)])
                os.rename(image, target)
    return target


def make_disk(path, size):
    """A sparse file with an ext4 of that size ("1G" or bytes) at path."""
    _call(["truncate", "-s", str(size), str(path)])
    _call(["mkfs.ext4", "-q", "-F", "-L", "kvmhost", "-E", "lazy_itable_init=1", str(path)])


@contextlib.contextmanager
def _scratch():
    """A temporary folder in the cache's file system, so that rename is atomic."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="making-", dir=cache_dir()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _call(argv, **options):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, errors="replace", **options)
    except OSError as error:
        raise ImageError(f"{argv[0]}: {error.strerror} (packages: {HERE}/packages)") from error
    if done.returncode != 0:
        raise ImageError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def _cached_kernels():
    """Every complete kernel of the cache, oldest first by the time it was unpacked."""
    roots = sorted(cache_dir().glob("kernel-*"), key=lambda path: path.stat().st_mtime)
    names = [(root, root.name.removeprefix("kernel-")) for root in roots]
    return [Kernel(name, root / "boot" / f"vmlinux-{name}", root) for root, name in names]


def _unpack_kernel():
    package = _kernel_package()
    with _scratch() as scratch:
        # Root's apt would complain that _apt cannot write here; the scratch folder is private.
        _call(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=scratch)
        (deb,) = scratch.glob("*.deb")
        _call(["dpkg", "-x", str(deb), str(scratch / "root")])
        (release,) = (path.name for path in (scratch / "root/lib/modules").iterdir())
        _call(["depmod", "-b", str(scratch / "root"), release])
        boot = scratch / "root/boot"
        (boot / f"vmlinux-{release}").write_bytes(
            _vmlinux((boot / f"vmlinuz-{release}").read_bytes()))
        os.rename(scratch / "root", cache_dir() / f"kernel-{release}")


def _kernel_package():
    """The package that the meta-package linux-image-amd64 stands for today."""
    for prepare in ([], ["apt-get", "-q", "update"]):
        if prepare:
            _call(prepare)
        for line in _call(["apt-cache", "depends", "linux-image-amd64"]).splitlines():
            key, _, value = line.strip().partition(": ")
            if key == "Depends" and value.startswith("linux-image-"):
                return value
    raise ImageError("apt knows no linux-image-amd64: check /etc/apt/sources.list")


def _debian_release():
    """bookworm: the caller's, so that its programs and Debian's find libraries that fit both."""
    with open("/etc/os-release", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("VERSION_CODENAME="):
                return line.partition("=")[2].strip().strip('"')
    raise ImageError("/etc/os-release names no Debian release")


def _vmlinux(bzimage):
    """The ELF in a bzImage, by its setup header (Linux, Documentation/arch/x86/boot.rst)."""
    setup_sectors = bzimage[0x1F1]
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    payload = (setup_sectors + 1) * 512 + offset
    elf = lzma.LZMADecompressor().decompress(bzimage[payload:payload + length])
    if not elf.startswith(b"\x7fELF"):
        raise ImageError("the Debian kernel's payload is not an xz of an ELF file")
    return elf


def _busybox():
    path = shutil.which("busybox")
    if not path:
        raise ImageError("busybox not found: install busybox-static")
    return pathlib.Path(path)


def _recipe_hash():
    digest = hashlib.sha256()
    sources = [HERE / "images.py", GUEST / "init", *(GUEST / name for name in GUEST_FILES)]
    for path in [_busybox(), *sources]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _remove_old_initramfs():
    """Those of recipes that nobody has booted for a week: any other may be another tree's."""
    for path in cache_dir().glob("initramfs-*"):
        if path.stat().st_mtime < time.time() - 7 * 86400:
            path.unlink()


def _module_files(for_kernel):
    """Files of BOOT_MODULES and of what they depend on, in an order in which insmod takes them."""
    ordered = {}
    for module in BOOT_MODULES:
        shown = _call(["modprobe", "-S", for_kernel.release, "-d", str(for_kernel.modules_root),
                       "--show-depends", module])
        for line in shown.splitlines():
            if line.startswith("insmod "):
                ordered[line.split()[1]] = None
    return list(ordered)


def _build_initramfs(for_kernel, scratch):
    root = scratch / "initramfs"
    for folder in ("bin", "dev", "proc", "sys", "modules", "kvmhost"):
        (root / folder).mkdir(parents=True)
    shutil.copy(_busybox(), root / "bin/busybox")
    os.symlink("busybox", root / "bin/sh")
    shutil.copy(GUEST / "init", root / "init")
    for name in GUEST_FILES:
        shutil.copy(GUEST / name, root / "kvmhost" / name)
    for number, path in enumerate(_module_files(for_kernel)):
        shutil.copy(path, root / "modules" / f"{number:03}-{os.path.basename(path)}")
    # Not compressed: unpacking costs the emulated processor more than copying.
    pack = "find . -print0 | cpio --null -o -H newc -R 0:0 --quiet > ../initramfs.cpio"
    _call(["sh", "-c", pack], cwd=root)
