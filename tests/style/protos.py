"""The public API's protos as descriptors, of this tree and of an older commit."""

import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import io

import tree
from google.protobuf import descriptor_pb2

FOLDER = "proto/gemel"


def compile_folder(root):
    """The FileDescriptorSet of all public protos below `root`/proto, with comments."""
    files = sorted(str(file.relative_to(root / "proto"))
                   for file in (root / FOLDER).rglob("*.proto"))
    with tempfile.TemporaryDirectory() as out:
        target = pathlib.Path(out) / "set"
        subprocess.run([protoc(), "--proto_path=proto", f"--descriptor_set_out={target}",
                        "--include_imports", "--include_source_info", *files],
                       cwd=root, check=True, capture_output=True)
        found = descriptor_pb2.FileDescriptorSet()
        found.ParseFromString(target.read_bytes())
    return found


def protoc():
    return shutil.which("protoc")


def git(*arguments):
    return subprocess.run(["git", "-C", tree.ROOT, "-c", f"safe.directory={tree.ROOT}",
                           *arguments], check=True, capture_output=True).stdout


def last_commit():
    """What the protos here are compared to: HEAD if they differ from it, else the commit before
    the last one that touched them. None where there is none."""
    if git("status", "--porcelain", "--", "proto").strip():
        return "HEAD" if has_protos("HEAD") else None
    touched = git("log", "-1", "--format=%H", "--", "proto").decode().strip()
    return touched + "~1" if touched and has_protos(touched + "~1") else None


def has_protos(commit):
    try:
        return bool(git("ls-tree", "-r", "--name-only", commit, "--", FOLDER).strip())
    except subprocess.CalledProcessError:
        return False


def compile_commit(commit):
    with tempfile.TemporaryDirectory() as folder:
        archive = git("archive", commit, "--", "proto")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder)
        return compile_folder(pathlib.Path(folder))


def messages(file):
    """(full name, DescriptorProto) of each message of a file, nested ones too, entries of maps not."""
    todo = [(f"{file.package}.{message.name}", message) for message in file.message_type]
    while todo:
        name, message = todo.pop()
        if not message.options.map_entry:
            yield name, message
        todo += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def enums(file):
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}", enum
    for name, message in messages(file):
        for enum in message.enum_type:
            yield f"{name}.{enum.name}", enum
