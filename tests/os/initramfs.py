"""A tiny initramfs around busybox, whose /init does what the kernel command line's do=... says."""

import pathlib
import stat

HERE = pathlib.Path(__file__).resolve().parent
BUSYBOX = pathlib.Path("/bin/busybox")
FOLDERS = ("bin", "dev", "modules", "proc", "sys")


def build(modules, init=HERE / "guest-init", tools=()):
    """The archive's bytes; `modules` is a folder of kernel modules that /init may load, `tools` are static
    programs for /bin."""
    archive = bytearray()
    for folder in FOLDERS:
        _add(archive, folder, stat.S_IFDIR | 0o755, b"")
    _add(archive, "init", stat.S_IFREG | 0o755, init.read_bytes())
    _add(archive, "bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes())
    for tool in tools:
        _add(archive, f"bin/{tool.name}", stat.S_IFREG | 0o755, tool.read_bytes())
    for module in sorted(pathlib.Path(modules).iterdir()):
        _add(archive, f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes())
    _add(archive, "TRAILER!!!", 0, b"")
    return bytes(archive)


def _add(archive, name, mode, content):
    """One member in the "newc" format: 110 bytes of hexadecimal, the name, the content."""
    links = 2 if stat.S_ISDIR(mode) else 1
    encoded = name.encode() + b"\0"
    fields = (len(archive) + 1, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    archive += b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    archive += bytes(-len(archive) % 4) + content
    archive += bytes(-len(archive) % 4)
