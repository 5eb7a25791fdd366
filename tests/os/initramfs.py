"""A tiny initramfs around busybox, whose /init does what the kernel command line's do=... says."""

import pathlib
import re
import shutil
import stat
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
BUSYBOX = pathlib.Path("/bin/busybox")
FOLDERS = ("bin", "dev", "lib", "lib/x86_64-linux-gnu", "lib64", "modules", "proc", "sys")


def build(modules, init=HERE / "guest-init", tools=(), programs=()):
    """The archive's bytes; `modules` is a folder of kernel modules that /init may load, `tools` are static
    programs for /bin, `programs` the names of this machine's that need libraries."""
    archive = bytearray()
    libraries = _with_libraries(programs)
    for folder in sorted({*FOLDERS, *_parents(libraries)}):
        _add(archive, folder, stat.S_IFDIR | 0o755, b"")
    _add(archive, "init", stat.S_IFREG | 0o755, init.read_bytes())
    _add(archive, "bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes())
    for tool in tools:
        _add(archive, f"bin/{tool.name}", stat.S_IFREG | 0o755, tool.read_bytes())
    for name, path in sorted(libraries.items()):
        _add(archive, name, stat.S_IFREG | 0o755, pathlib.Path(path).read_bytes())
    for module in sorted(pathlib.Path(modules).iterdir()):
        _add(archive, f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes())
    _add(archive, "TRAILER!!!", 0, b"")
    return bytes(archive)


def take_module(disk, place, folder):
    """Copies a kernel module out of make_debian_disk's disk; `place` is below .../kernel, without ".ko"."""
    def debugfs(request):
        return subprocess.run(["/usr/sbin/debugfs", "-R", request, disk], check=True,
                              capture_output=True, text=True).stdout

    version = re.search(r"(\d+\.\S+-amd64)", debugfs("ls /usr/lib/modules"))[1]
    module = folder / f"{pathlib.Path(place).name}.ko"
    debugfs(f"dump /usr/lib/modules/{version}/kernel/{place}.ko {module}")
    assert module.stat().st_size > 0, place


def _with_libraries(programs):
    """Where to put them in the archive, and where they are."""
    files = {}
    for name in programs:
        path = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
        assert path, f"{name} is not installed"
        files[f"bin/{name}"] = path
        listed = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            files[library.lstrip("/")] = library
    return files


def _parents(names):
    """The folders above them: the kernel leaves out what has none."""
    for name in names:
        yield from (str(folder) for folder in pathlib.PurePath(name).parents if folder.name)


def _add(archive, name, mode, content):
    """One member in the "newc" format: 110 bytes of hexadecimal, the name, the content."""
    links = 2 if stat.S_ISDIR(mode) else 1
    encoded = name.encode() + b"\0"
    fields = (len(archive) + 1, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    archive += b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    archive += bytes(-len(archive) % 4) + content
    archive += bytes(-len(archive) % 4)
