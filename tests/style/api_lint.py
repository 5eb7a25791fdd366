"""Google's API improvement proposals, as far as we promise them, looked up in descriptors.

lint() gives one line a finding. What the rules are from is named beside each: AIP-133 is
https://google.aip.dev/133.
"""

import re

from google.protobuf import descriptor_pb2

import protos

FIELD = descriptor_pb2.FieldDescriptorProto
MUTATING = {"Create", "Update", "Delete", "Start", "Stop", "Shutdown", "Reset", "Pause", "Resume"}
SUFFIX_TYPES = {"_time": ".google.protobuf.Timestamp", "_mask": ".google.protobuf.FieldMask"}
# The time that a program used up, or requests together, is a length, whatever it ends in.
LENGTHS_OF_TIME = {"cpu_time", "vcpu_time", "disk_read_time", "disk_write_time", "disk_flush_time"}


def lint(descriptors):
    findings = []
    for file in descriptors.file:
        if file.package == "gemel.v1":
            findings += lint_file(file)
    return findings


def lint_file(file):
    findings = []
    if file.syntax != "proto3":
        findings.append(f"{file.name}: not proto3")
    own = {f".{name}": message for name, message in protos.messages(file)}
    for service in file.service:
        findings += lint_service(service, own)
    for name, message in own.items():
        findings += lint_message(name[1:], message)
    for name, enum in protos.enums(file):
        findings += lint_enum(name, enum)
    return findings + lint_comments(file)


# Services and methods.


def lint_service(service, own):
    findings = []
    for method in service.method:
        where = f"{service.name}.{method.name}"
        verb, resource = split_method(service.name, method.name)
        short = method.input_type.rsplit(".", 1)[1]
        # One request a method, named after it, so that either can grow.
        allowed = {f"{method.name}Request", f"{verb}{resource}Request",
                   f"{verb}{resource}sRequest", f"{method.name}{service.name}Request",
                   f"{method.name}{singular(service.name)}Request",
                   f"List{singular(service.name)}{method.name[4:]}Request"}
        if short not in allowed:
            findings.append(f"{where}: request {short} is not one of {sorted(allowed)}")
        request = own.get(method.input_type)
        if request is None:
            findings.append(f"{where}: its request is in another file")
            continue
        if not method.client_streaming:
            findings += lint_request(where, verb, resource, method, request, own)
    return findings


def singular(service):
    return service[:-1] if service.endswith("s") and service != "Access" else service


def split_method(service, method):
    """("List", "VirtualMachine") of VirtualMachines.List; ("Get", "Quota") of Access.GetQuota."""
    verb, resource = re.fullmatch(r"([A-Z][a-z]+)([A-Z]\w*)?", method).groups()
    if resource is None:
        return verb, singular(service)
    if verb == "List":
        return verb, resource[:-1]
    return verb, resource


def lint_request(where, verb, resource, method, request, own):
    fields = {field.name: field for field in request.field}

    def missing(*names):
        return [f"{where}: {request.name} has no {name}" for name in names if name not in fields]

    if verb == "Get":  # AIP-131
        return missing("name")
    if verb == "List":  # AIP-132, 158, 160
        found = missing("page_size", "page_token", "filter")
        answer = own.get(method.output_type)
        if answer is None or "next_page_token" not in [field.name for field in answer.field]:
            found.append(f"{where}: its answer has no next_page_token")
        elif answer.field[0].label != FIELD.LABEL_REPEATED:
            found.append(f"{where}: the first field of its answer is not the list")
        return found
    if verb not in MUTATING:
        return []
    found = missing("request_id", "validate_only")  # AIP-155, 163
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", resource).lower()
    if verb == "Create":  # AIP-133
        found += missing(snake)
        if not any(name.endswith("_id") and name != "request_id" for name in fields):
            found.append(f"{where}: {request.name} has no id for the new resource")
    elif verb == "Update":  # AIP-134
        found += missing(snake, "update_mask")
    else:  # AIP-135, 136, 154
        found += missing("name", "etag")
    return found


# Messages and enums.


def lint_message(name, message):
    findings = []
    for field in message.field:
        where = f"{name}.{field.name}"
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name):  # AIP-140
            findings.append(f"{where}: not lower_snake_case")
        if re.search(r"(^|_)(id_card|flag|is)_", field.name):  # AIP-140: booleans without "is_"
            findings.append(f"{where}: a boolean needs no is_")
        for suffix, wanted in SUFFIX_TYPES.items():  # AIP-142, 161
            if (field.name.endswith(suffix) and field.type_name != wanted
                    and field.name not in LENGTHS_OF_TIME):
                findings.append(f"{where}: *{suffix} is a {wanted[1:]}")
        if field.type in (FIELD.TYPE_FLOAT, FIELD.TYPE_DOUBLE):
            findings.append(f"{where}: amounts are integers of a named unit")
        if re.search(r"(^|_)(size|memory|bytes_count)$", field.name) and is_number(field) \
                and field.name != "page_size":  # AIP-141
            findings.append(f"{where}: a number of what unit?")
    names = [field.name for field in message.field]
    if {"name", "uid"} <= set(names):  # AIP-121, 148: it is a resource
        for wanted in ("etag", "create_time"):
            if wanted not in names and not name.endswith("Event"):
                findings.append(f"{name}: a resource without {wanted}")
        if message.field[0].name != "name" or message.field[0].number != 1:  # AIP-122
            findings.append(f"{name}: name is not its first field")
    return findings


def is_number(field):
    return field.type in (FIELD.TYPE_INT32, FIELD.TYPE_INT64, FIELD.TYPE_UINT32, FIELD.TYPE_UINT64)


def lint_enum(name, enum):
    short = name.rsplit(".", 1)[1]
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", short).upper() + "_"
    findings = []
    if enum.value[0].name != prefix + "UNSPECIFIED" or enum.value[0].number != 0:  # AIP-126
        findings.append(f"{name}: its zero is not {prefix}UNSPECIFIED")
    findings += [f"{name}.{value.name}: does not begin with {prefix}"
                 for value in enum.value if not value.name.startswith(prefix)]
    return findings


# Comments: AIP-192. A request is explained by its method, a field whose name is known by its name.


def lint_comments(file):
    commented = {tuple(place.path) for place in file.source_code_info.location
                 if place.leading_comments.strip() or place.trailing_comments.strip()}
    findings = []
    for number, service in enumerate(file.service):
        if (6, number) not in commented:
            findings.append(f"{service.name}: no comment")
        findings += [f"{service.name}.{method.name}: no comment"
                     for index, method in enumerate(service.method)
                     if (6, number, 2, index) not in commented]
    for number, message in enumerate(file.message_type):
        if (4, number) not in commented and not message.name.endswith(("Request", "Response")):
            findings.append(f"{message.name}: no comment")
    for number, enum in enumerate(file.enum_type):
        if (5, number) not in commented:
            findings.append(f"{enum.name}: no comment")
    return findings
