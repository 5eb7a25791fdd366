"""The public API: Google's conventions, and a wire format that clients can rely on."""

import pathlib
import tempfile

import api_compat
import api_lint
import protos
import pytest
import tree


def compiled(text):
    """The descriptors of one made-up proto."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "proto/gemel/v1/made_up.proto"
        file.parent.mkdir(parents=True)
        file.write_text('syntax = "proto3";\npackage gemel.v1;\n' + text, encoding="utf-8")
        return protos.compile_folder(pathlib.Path(folder))


def test_api_follows_the_conventions():
    findings = api_lint.lint(protos.compile_folder(tree.ROOT))
    assert not findings, "\n".join(findings)


def test_wire_format_is_compatible_with_the_last_commit():
    commit = protos.last_commit()
    if commit is None:
        pytest.skip("no commit with other protos")
    broken = api_compat.breaks(protos.compile_commit(commit), protos.compile_folder(tree.ROOT))
    assert not broken, f"against {commit}:\n" + "\n".join(broken)


@pytest.mark.parametrize("text, finding", [
    ("// A.\nenum Colour { RED = 0; }", "its zero is not COLOUR_UNSPECIFIED"),
    ("message Thing { string name = 1; }", "gemel.v1.Thing: no comment|Thing: no comment"),
    ("// A.\nmessage Thing { string bootTime = 1; }", "not lower_snake_case"),
    ("// A.\nmessage Thing { int64 boot_time = 1; }", "*_time is a google.protobuf.Timestamp"),
    ("// A.\nmessage Thing { uint64 memory = 1; }", "a number of what unit?"),
    ("// A.\nmessage Thing { double load = 1; }", "amounts are integers"),
    ("// A.\nmessage Thing { string name = 1; string uid = 2; }", "a resource without etag"),
    ("// A.\nservice Things {\n// A.\nrpc Get(GetThingRequest) returns (Thing); }\n"
     "// A.\nmessage Thing {}\nmessage GetThingRequest {}", "GetThingRequest has no name"),
    ("// A.\nservice Things {\n// A.\nrpc Stop(StopThingRequest) returns (Thing); }\n"
     "// A.\nmessage Thing {}\nmessage StopThingRequest { string name = 1; }", "has no request_id"),
    ("// A.\nservice Things {\n// A.\nrpc List(ListThingsRequest) returns (Thing); }\n"
     "// A.\nmessage Thing {}\nmessage ListThingsRequest {}", "its answer has no next_page_token"),
    ("// A.\nservice Things {\n// A.\nrpc Get(Thing) returns (Thing); }\n"
     "// A.\nmessage Thing { string name = 1; }", "request Thing is not one of"),
])
def test_lint_finds(text, finding):
    findings = "\n".join(api_lint.lint(compiled(text)))
    assert any(part in findings for part in finding.split("|")), findings


OLD = ("message A { string name = 1; uint32 count = 2; } enum E { E_UNSPECIFIED = 0; E_ON = 1; }"
       "service S { rpc Get(A) returns (A); }")


@pytest.mark.parametrize("new, finding", [
    (OLD.replace("uint32 count = 2;", ""), "A.count = 2: gone"),
    (OLD.replace("uint32", "uint64"), "A.count = 2: ("),
    (OLD.replace("uint32", "repeated uint32"), "A.count = 2: ("),
    (OLD.replace("uint32", "optional uint32"), "A.count = 2: ("),
    (OLD.replace("count = 2", "number = 2"), "is called number now"),
    (OLD.replace("E_ON = 1;", ""), "E.E_ON = 1: gone"),
    (OLD.replace("E_ON = 1", "E_OFF = 1"), "is called E_OFF now"),
    (OLD.replace("message A", "message B").replace("(A)", "(B)"), "gemel.v1.A: this message is gone"),
    (OLD.replace("rpc Get", "rpc Fetch"), "S.Get: this method is gone"),
    (OLD.replace("returns (A)", "returns (stream A)"), "S.Get: ("),
])
def test_compatibility_check_finds(new, finding):
    broken = "\n".join(api_compat.breaks(compiled(OLD), compiled(new)))
    assert finding in broken, broken


@pytest.mark.parametrize("new", [
    OLD,
    OLD.replace("uint32 count = 2;", "uint32 count = 2; bool more = 3;"),
    OLD.replace("uint32 count = 2;", 'reserved 2; reserved "count";'),
    OLD.replace("E_ON = 1;", "E_ON = 1; E_OFF = 2;"),
    OLD + "message B {}",
])
def test_compatibility_check_accepts(new):
    assert not api_compat.breaks(compiled(OLD), compiled(new))
