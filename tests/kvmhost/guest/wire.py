"""Frames between the tool and the agent in an emulated host, over one virtio-serial port.

    +------+-----------+-------------+---------+
    | kind | job (u32) | length (u32)| payload |     big endian
    +------+-----------+-------------+---------+

RUN's payload is NUL-separated bytes: folder, number of arguments, arguments, NAME=VALUE...
"""

import struct

HEADER = struct.Struct(">BII")
PORT_NAME = "kvmhost"
CHUNK = 65536

READY = 0   # agent -> tool, once: the host is up
RUN = 1     # tool -> agent: start a job
SIGNAL = 2  # tool -> agent: payload is the number, sent to the job's process group
OUT = 3     # agent -> tool: bytes of the job's standard output
ERR = 4     # agent -> tool: bytes of the job's standard error
EXIT = 5    # agent -> tool: payload is the status, 128 + N for signal N; the job's last frame


def pack(kind, job, payload=b""):
    return HEADER.pack(kind, job, len(payload)) + payload


def pack_run(job, cwd, argv, env):
    words = [cwd, str(len(argv)), *argv, *(f"{name}={value}" for name, value in env.items())]
    return pack(RUN, job, b"\0".join(_bytes(word) for word in words))


def unpack_run(payload):
    """The (cwd, argv, env) of a RUN frame, all in bytes."""
    cwd, count, *words = payload.split(b"\0")
    argv, pairs = words[:int(count)], words[int(count):]
    return cwd, argv, dict(pair.split(b"=", 1) for pair in pairs)


class Decoder:
    """Cuts a stream into frames; feed() gives those that became complete."""

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data):
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEADER.size:
            kind, job, length = HEADER.unpack_from(self._buffer)
            if len(self._buffer) - HEADER.size < length:
                break
            frames.append((kind, job, bytes(self._buffer[HEADER.size:HEADER.size + length])))
            del self._buffer[:HEADER.size + length]
        return frames


def _bytes(word):
    return word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")
