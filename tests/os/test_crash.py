"""A guest that cannot go on."""

import re

import tiny_elf


def test_triple_fault_before_user_space_ends_with_1_and_shows_registers(run):
    kernel = run.images / "crash.elf"
    kernel.write_bytes(tiny_elf.build(tiny_elf.TRIPLE_FAULT))
    ended = run("--profile", "micro", "--kernel", kernel, "--memory", "64M")
    assert ended.status == 1, ended
    assert "triple fault" in ended.log.lower(), ended
    assert re.search(r"\brip\b", ended.log, re.IGNORECASE), ended
