"""The files of the project, as the style tests see them."""

import functools
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
# Folders of C++ that is linked into programs; tests/ follows other rules.
SOURCE_FOLDERS = ("base", "block", "cli", "cluster", "etcd", "grpc", "helpers", "hostnet", "keeper", "launch",
                  "member", "net", "pki", "storage", "virtio", "vmm")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


@functools.cache
def files():
    """What git tracks or would track, relative to the root, sorted."""
    command = ["git", "-C", ROOT, "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached",
               "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    return sorted({pathlib.Path(name) for name in names if name and (ROOT / name).is_file()})


def sources(*suffixes, folders=SOURCE_FOLDERS):
    return [file for file in files() if file.suffix in suffixes and file.parts[0] in folders]


@functools.cache
def text(file):
    return (ROOT / file).read_text(encoding="utf-8")


def includes(file):
    """(quote, name) of each #include, quote being < or "."""
    return INCLUDE.findall(text(file))
