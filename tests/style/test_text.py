"""Rules that a reader of the text alone can check."""

import re

import pytest
import tree

TEXT = {".h", ".cc", ".py", ".md", ".txt", ".build", ".proto", ".sh", ".S", ".ld", ""}
CODE = (".h", ".cc")
# Spelled in two parts, so that this file does not contain them.
MACHINE_PATHS = re.compile("/" + r"work/|/home" + r"/\w|/tmp/bash" + "_")
MAX_COLUMNS = 110  # 100 is the rule; a word or two over it in a comment is no one's time
SAFETY_WINDOW = 8  # lines before the place in which its reason may stand


def text_files():
    return [file for file in tree.files()
            if file.suffix in TEXT and "corpus" not in file.parts and readable(file)]


def readable(file):
    try:
        return bool(tree.text(file)) or True
    except UnicodeDecodeError:
        return False


def lines_with(pattern, files):
    """"file:line: text" of each line that has the pattern."""
    return [f"{file}:{number}: {line.strip()}" for file in files
            for number, line in enumerate(tree.text(file).split("\n"), 1)
            if re.search(pattern, line)]


def test_no_path_of_a_particular_machine():
    assert not lines_with(MACHINE_PATHS, text_files())


def test_no_carriage_return_and_no_trailing_space():
    assert not lines_with(r"[ \t\r]$", text_files())


def test_file_ends_with_one_newline():
    wrong = [str(file) for file in text_files()
             if tree.text(file) and not re.search(r"[^\n]\n\Z", tree.text(file))]
    assert not wrong, wrong


def test_no_merge_conflict_left():
    assert not lines_with(r"^(<{7} |>{7} |={7}$)", text_files())


def test_source_line_is_not_long():
    # A line that begins with a quote is a piece of text, which may not be breakable.
    long = [f"{file}:{number}" for file in text_files() if file.suffix in (".h", ".cc", ".py")
            for number, line in enumerate(tree.text(file).split("\n"), 1)
            if len(line) > MAX_COLUMNS and not line.lstrip().startswith('"')]
    assert not long, long


def test_source_has_no_tab():
    assert not lines_with("\t", [file for file in text_files() if file.suffix in (".h", ".cc")])


@pytest.mark.parametrize("pattern, rule", [
    (r"\busing namespace\b", "name what you use"),
    (r"#include <iostream>", "text is fmt's, lines are base/log.h's"),
    (r"^(?!\s*//).*\bthrow\b(?! *\()", "errors are values"),
    (r"\bXXX\b|\bFIXME\b", "TODO(name): what ends it"),
    (r"\bTODO\b(?!\([^)]+\): )", "TODO(name): what ends it"),
])
def test_source_keeps_to(pattern, rule):
    wrong = lines_with(pattern, tree.sources(*CODE))
    assert not wrong, f"{rule}: {wrong}"


def test_every_cast_and_mapping_says_why_it_is_safe():
    wrong = []
    for file in tree.sources(*CODE):
        lines = tree.text(file).split("\n")
        for index, line in enumerate(lines):
            # An address read as a number harms nobody.
            if not re.search(r"\breinterpret_cast<(?!std::uintptr_t>)|\bmmap(64)?\(", line.split("//")[0]):
                continue
            window = lines[max(0, index - SAFETY_WINDOW):index + 1]
            if not any("SAFETY:" in near for near in window):
                wrong.append(f"{file}:{index + 1}: {line.strip()}")
    assert not wrong, "a SAFETY: comment is missing:\n" + "\n".join(wrong)
