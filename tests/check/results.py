"""What tests answered: Case, Results, and readers of JUnit files (pytest's, GoogleTest's)."""

import dataclasses
import pathlib
import xml.etree.ElementTree as ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
FIRST_TRY = "failed at first"  # the property of a test that passed at its second try


@dataclasses.dataclass
class Case:
    name: str
    outcome: str
    detail: str = ""  # why it failed or was skipped, or what its first try said


class Results:
    """The cases of one phase or of the whole check."""

    def __init__(self):
        self.cases = []

    def add(self, name, outcome, detail=""):
        self.cases.append(Case(name, outcome, detail))

    def extend(self, other):
        self.cases.extend(other.cases)

    def of(self, outcome):
        return [case for case in self.cases if case.outcome == outcome]

    def line(self):
        return ", ".join(f"{len(self.of(outcome))} {outcome}"
                         for outcome in (PASSED, FAILED, SKIPPED))


def read_junit(path, results, prefix=""):
    """Adds every test case of the file; a file that is missing or broken is one failed case."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        results.add(f"{prefix}{pathlib.Path(path).name}", FAILED, f"no test report: {error}")
        return
    for case in root.iter("testcase"):
        results.cases.append(_case(case, prefix))


def _case(element, prefix):
    name = f"{prefix}{element.get('classname', '')}.{element.get('name', '')}"
    for tag in ("failure", "error"):
        if (found := element.find(tag)) is not None:
            return Case(name, FAILED, found.get("message") or (found.text or "").strip())
    skipped = element.find("skipped")
    if skipped is not None or element.get("result") == "skipped":
        return Case(name, SKIPPED, _skip_reason(element, skipped))
    if element.get("status") == "notrun":
        return Case(name, SKIPPED, "disabled by its name")
    return Case(name, PASSED, _first_try(element))


def _first_try(element):
    """What second_try.py has written, if this test passed at its second."""
    return next((found.get("value") for found in element.iter("property")
                 if found.get("name") == FIRST_TRY), "")


def _skip_reason(element, skipped):
    if skipped is None:
        return "no reason given"
    text = skipped.get("message") or (skipped.text or "").strip() or "no reason given"
    return " ".join(text.split())
