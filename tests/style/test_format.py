"""clang-format agrees with every C++ file."""

import subprocess

import tree


def test_clang_format_would_change_nothing():
    files = [str(file) for file in tree.files() if file.suffix in (".h", ".cc")]
    done = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *files], cwd=tree.ROOT,
                          capture_output=True, text=True, check=False)
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": error:" in line})
    assert done.returncode == 0, f"clang-format-19 -i {' '.join(wrong)}"
