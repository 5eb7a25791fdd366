"""Programs that ./check unpacked (tests/check/unpack), or that are installed here."""

import os
import pathlib
import shutil


def program(package, name=None):
    """The path of `name` (default: as the package is called), or None if it is nowhere."""
    name = name or package
    cache = os.environ.get("GEMEL_CACHE") or pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gemel"
    for folder in ("usr/bin", "usr/sbin"):
        path = pathlib.Path(cache) / "unpacked" / package / folder / name
        if os.access(path, os.X_OK):
            return str(path)
    return shutil.which(name)
