"""Every header says what it is, stands alone, and is guarded."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess

import tree

FLAGS = ("-std=c++2b", "-D_FILE_OFFSET_BITS=64", "-O0", "-w",
         "-iquote", ".", "-iquote", str(tree.BUILD), "-isystem", str(tree.BUILD / "proto"))


def headers():
    return tree.sources(".h", folders=tree.SOURCE_FOLDERS + ("tests",))


def test_header_begins_with_what_it_is():
    wrong = [str(file) for file in headers() if not tree.text(file).startswith("// ")]
    assert not wrong, f"the first line says what the header offers: {wrong}"


def test_header_has_pragma_once():
    wrong = [str(file) for file in headers()
             if not re.search(r"^#pragma once$", tree.text(file), re.MULTILINE)]
    assert not wrong, f"#pragma once is missing: {wrong}"


def first_in_their_unit():
    """The sources with which a unit of the build begins: of several that it reads as one, the first."""
    for entry in json.loads((tree.BUILD / "compile_commands.json").read_text(encoding="utf-8")):
        file = (tree.BUILD / entry["file"]).resolve()
        if file.name.endswith(".cpp"):  # Meson's, for --unity
            file = pathlib.Path(re.search(r"#include<(.*?)>", file.read_text(encoding="utf-8"))[1]).resolve()
        if file.is_relative_to(tree.ROOT):
            yield file.relative_to(tree.ROOT)


def not_compiled_first():
    """Of the others the build has shown that they stand alone: some unit of it begins with them."""
    included = map(tree.includes, (file for file in first_in_their_unit() if (tree.ROOT / file).is_file()))
    begun_with = {names[0] for names in included if names}
    return [file for file in headers() if ('"', str(file)) not in begun_with]


def test_header_compiles_alone(tmp_path):
    env = dict(os.environ, CCACHE_BASEDIR=str(tree.ROOT), CCACHE_NOHASHDIR="1")
    # In the tree's own build folder, so that the compiler cache knows the file again.
    work = tree.ROOT / "build/check/headers"
    work.mkdir(parents=True, exist_ok=True)

    def complaint(header):
        stem = str(header).replace("/", "__")
        source = work / f"{stem}.cc"
        if not source.exists():
            source.write_text(f'#include "{header}"\n', encoding="utf-8")
        command = ["ccache", "g++", *FLAGS, "-c", str(source.relative_to(tree.ROOT)), "-o",
                   str(tmp_path / f"{stem}.o")]
        done = subprocess.run(command, cwd=tree.ROOT, env=env, capture_output=True, text=True,
                              check=False)
        return "" if done.returncode == 0 else f"{header}:\n{done.stderr[:2000]}"

    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        wrong = [text for text in pool.map(complaint, not_compiled_first()) if text]
    assert not wrong, "\n".join(wrong)
