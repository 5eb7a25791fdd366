"""The smallest kernel that has a PVH entry: a 64-bit ELF file around a few bytes of 32-bit code."""

import struct

LOAD_ADDRESS = 0x100000
PT_LOAD, PT_NOTE = 1, 4
XEN_ELFNOTE_PHYS32_ENTRY = 18
HEADERS = 64 + 2 * 56

# lidt of a table without entries, then int3: no handler, no double-fault handler, a triple fault.
TRIPLE_FAULT = (b"\x0f\x01\x1d" + struct.pack("<I", LOAD_ADDRESS + 16) + b"\xcc").ljust(24, b"\0")


def build(code):
    """The file's bytes; it is entered at the first byte of `code`, which lies at LOAD_ADDRESS."""
    note = struct.pack("<III4sI", 4, 4, XEN_ELFNOTE_PHYS32_ENTRY, b"Xen\0", LOAD_ADDRESS)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, LOAD_ADDRESS, 64, 0, 0, 64, 56, 2,
                                 0, 0, 0)
    load = _segment(PT_LOAD, 7, HEADERS + len(note), LOAD_ADDRESS, len(code))
    return header + load + _segment(PT_NOTE, 4, HEADERS, 0, len(note)) + note + code


def _segment(kind, flags, offset, address, size):
    return struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, size, size, 4)
