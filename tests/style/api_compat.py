"""Whether clients built from older protos understand a server built from newer ones, and the other
way round: the wire format, and the names that JSON, field masks and method paths have.
"""

import protos

REPEATED = 3


def breaks(old, new):
    """One line for each promise of `old` that `new` does not keep."""
    found = []
    new_symbols = symbols(new)
    for kind, table in symbols(old).items():
        for name, item in table.items():
            if not name.startswith("gemel."):
                continue
            if name not in new_symbols[kind]:
                found.append(f"{name}: this {kind} is gone")
            else:
                found += COMPARE[kind](name, item, new_symbols[kind][name])
    return found


def symbols(descriptors):
    found = {"message": {}, "enum": {}, "service": {}}
    for file in descriptors.file:
        found["message"].update(protos.messages(file))
        found["enum"].update(protos.enums(file))
        found["service"].update({f"{file.package}.{service.name}": service
                                 for service in file.service})
    return found


def compare_messages(name, old, new):
    """A number keeps its name and type; one that goes stays reserved, and so does its name."""
    found = []
    kept = {field.number: field for field in new.field}
    reserved = {number for span in new.reserved_range for number in range(span.start, span.end)}
    for field in old.field:
        now = kept.get(field.number)
        where = f"{name}.{field.name} = {field.number}"
        if now is None:
            if field.number not in reserved or field.name not in new.reserved_name:
                found.append(f"{where}: gone, and its number and name are not reserved")
            continue
        if now.name != field.name:
            found.append(f"{where}: is called {now.name} now")
        if shape(old, field) != shape(new, now):
            found.append(f"{where}: {shape(old, field)} became {shape(new, now)}")
    return found


def shape(message, field):
    """What the bytes and the presence of a field mean."""
    oneof = (message.oneof_decl[field.oneof_index].name
             if field.HasField("oneof_index") else "none")
    return (field.type, field.type_name, field.label == REPEATED, oneof)


def compare_enums(name, old, new):
    kept = {value.number: value.name for value in new.value}
    reserved = {number for span in new.reserved_range
                for number in range(span.start, span.end + 1)}
    found = []
    for value in old.value:
        if value.number not in kept and value.number not in reserved:
            found.append(f"{name}.{value.name} = {value.number}: gone, and not reserved")
        elif value.number in kept and kept[value.number] != value.name:
            found.append(f"{name}.{value.name} = {value.number}: is called {kept[value.number]} now")
    return found


def compare_services(name, old, new):
    def signature(method):
        return (method.input_type, method.output_type, method.client_streaming,
                method.server_streaming)

    kept = {method.name: method for method in new.method}
    found = []
    for method in old.method:
        if method.name not in kept:
            found.append(f"{name}.{method.name}: this method is gone")
        elif signature(kept[method.name]) != signature(method):
            found.append(f"{name}.{method.name}: {signature(method)} became "
                         f"{signature(kept[method.name])}")
    return found


COMPARE = {"message": compare_messages, "enum": compare_enums, "service": compare_services}
