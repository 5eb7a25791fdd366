"""`gemel host check` on this host, whatever it is."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or ROOT / "build/release")
GEMEL = BUILD / "cli/gemel"


def check(*arguments):
    return subprocess.run([GEMEL, "host", "check", *arguments], capture_output=True, text=True,
                          timeout=60, check=False)


def test_status_says_whether_the_host_is_fit():
    done = check("-o", "json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["fit_to_run"] else 1)
    assert done.stderr == ""
    problems = [line for line in report["checks"]
                if line["state"] == "problem" and line["scope"] == "run"]
    assert report["fit_to_run"] == (not problems)


def test_text_and_json_agree():
    text, report = check(), json.loads(check("-o", "json").stdout)
    assert text.stdout.splitlines()[-1] == report["verdict"]
    for line in report["checks"]:
        assert f" {line['name']} " in text.stdout


def test_plain_ascii_when_not_on_a_terminal():
    assert check().stdout.isascii()


def test_help_begins_with_examples():
    lines = check("--help").stdout.splitlines()
    assert lines[:2] == ["Examples:", "  gemel host check"]


def test_wrong_input_refused():
    done = check("-o", "xml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: output: xml: unknown; there is text, json\n"
    assert check("surplus").returncode == 2
