"""What the boot benchmark's guests run: two kernels and an initramfs, made once and cached.

small_kernel() builds Debian's linux-source-6.1 with small-kernel.config; debian_kernel() is the
stock cloud kernel; initramfs() holds init.c alone. All are under $GEMEL_CACHE (or gemel in the
user's cache folder) /bench; a folder there with its final name is complete and never changes.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FRAGMENT = HERE / "small-kernel.config"
SOURCE_PACKAGE = "linux-source-6.1"
DEBIAN_KERNEL = "linux-image-cloud-amd64"


class ImageError(Exception):
    """An image could not be made; the message has the command and the end of what it printed."""


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(os.environ.get("GEMEL_CACHE") or pathlib.Path(base) / "gemel") / "bench"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def small_kernel():
    """A folder with vmlinux (ELF with PVH entry, stripped), bzImage and config."""
    digest = hashlib.sha256(FRAGMENT.read_bytes()).hexdigest()[:12]
    return _cached(f"small-{digest}-", _build_small_kernel)


def debian_kernel():
    """The stock cloud kernel's vmlinuz, a bzImage."""
    folder = _cached("debian-", _unpack_debian_kernel)
    (vmlinuz,) = (folder / "boot").glob("vmlinuz-*")
    return vmlinuz


def initramfs():
    """The file initramfs.cpio: /init and nothing else. Takes milliseconds, so made every time."""
    source = HERE / "init.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    folder = _cached(f"init-{digest}-", lambda scratch: _build_initramfs(source, scratch))
    return folder / "initramfs.cpio"


def _cached(prefix, make):
    """The newest folder whose name has the prefix, or the one that make(scratch) -> version makes."""
    with open(cache_dir() / f"{prefix}lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = sorted(cache_dir().glob(prefix + "[0-9]*"), key=lambda path: path.stat().st_mtime)
        if found:
            return found[-1]
        with _scratch() as scratch:
            target = cache_dir() / (prefix + make(scratch))
            os.rename(scratch / "result", target)
        return target


@contextlib.contextmanager
def _scratch():
    path = pathlib.Path(tempfile.mkdtemp(prefix="making-", dir=cache_dir()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _call(argv, **options):
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          errors="replace", **options)
    if done.returncode != 0:
        raise ImageError(f"{' '.join(map(str, argv))}: status {done.returncode}\n"
                         f"{done.stdout[-2000:]}")
    return done.stdout


def _download(package, scratch):
    """Unpacks the newest version of a package under scratch/root; returns that version."""
    for prepare in (False, True):
        if prepare:
            _call(["apt-get", "-q", "update"])
        with contextlib.suppress(ImageError):
            # Root's apt would complain that _apt cannot write here; the scratch folder is private.
            _call(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package],
                  cwd=scratch)
            break
    else:
        raise ImageError(f"apt-get cannot download {package}: check /etc/apt/sources.list")
    (deb,) = scratch.glob("*.deb")
    _call(["dpkg", "-x", deb, scratch / "root"])
    version = _call(["dpkg-deb", "-f", deb, "Version"]).strip()
    deb.unlink()
    return version


def _build_small_kernel(scratch):
    print("bench: building the small kernel (some minutes, once)", file=sys.stderr)
    version = _download(SOURCE_PACKAGE, scratch)
    source, build, result = (scratch / name for name in ("source", "build", "result"))
    for folder in (source, build, result):
        folder.mkdir()
    (archive,) = (scratch / "root/usr/src").glob("linux-source-*.tar.xz")
    _call(["tar", "-C", source, "--strip-components=1", "-xf", archive])
    make = ["make", "-s", "-C", source, f"O={build}"]
    # The same source and configuration give the same kernel, wherever it is built.
    environment = os.environ | {"KBUILD_BUILD_TIMESTAMP": "@0", "KBUILD_BUILD_USER": "gemel",
                                "KBUILD_BUILD_HOST": "gemel", "KCONFIG_CONFIG": f"{build}/.config",
                                "CCACHE_BASEDIR": str(scratch), "CCACHE_NOHASHDIR": "1"}
    _call([*make, "tinyconfig"], env=environment)
    _call([source / "scripts/kconfig/merge_config.sh", "-m", "-O", build, build / ".config",
           FRAGMENT], cwd=source, env=environment)
    _call([*make, "olddefconfig"], env=environment)
    _check_config(build / ".config")
    compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
    _call([*make, f"-j{os.cpu_count()}", f"CC={compiler}", "vmlinux", "bzImage"], env=environment)
    _call(["strip", "-o", result / "vmlinux", build / "vmlinux"])
    shutil.copy(build / "arch/x86/boot/bzImage", result / "bzImage")
    shutil.copy(build / ".config", result / "config")
    return version


def _check_config(path):
    """Kconfig drops silently what depends on something else: then the fragment is wrong."""
    config = set(path.read_text().splitlines())
    names = {line.split("=")[0] for line in config if line.startswith("CONFIG_")}
    for line in FRAGMENT.read_text().splitlines():
        unset = line.startswith("# CONFIG_") and line.endswith(" is not set")
        if unset and line.split()[1] in names or line.startswith("CONFIG_") and line not in config:
            raise ImageError(f"{FRAGMENT.name}: Kconfig did not take: {line}")


def _unpack_debian_kernel(scratch):
    depends = _call(["apt-cache", "depends", DEBIAN_KERNEL]).split()
    package = next((word for word in depends if word.startswith("linux-image-6")), None)
    if package is None:
        raise ImageError(f"apt knows no {DEBIAN_KERNEL}: check /etc/apt/sources.list")
    version = _download(package, scratch)
    (scratch / "result").mkdir()
    os.rename(scratch / "root/boot", scratch / "result/boot")
    return version


def _build_initramfs(source, scratch):
    program = scratch / "init"
    _call(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-stack-protector",
           "-fno-pie", "-no-pie", "-nostdlib", "-static", "-s", "-Wl,--build-id=none",
           "-Wl,-z,noseparate-code", "-o", program, source])
    (scratch / "result").mkdir()
    archive = _newc("init", 0o100755, program.read_bytes()) + _newc("TRAILER!!!", 0, b"")
    (scratch / "result/initramfs.cpio").write_bytes(archive)
    return "1"


def _newc(name, mode, data):
    """One entry of a cpio archive in the format that Documentation/driver-api/early-userspace
    names: 13 fields of 8 hexadecimal digits, the name and the data each padded to 4 bytes."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    entry = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    entry += bytes(-len(entry) % 4)
    return entry + data + bytes(-len(data) % 4)
