"""The rate of this machine's time-stamp counter, which TCG passes through to the emulated host.

The host's kernel would find it by the emulated PIT. On a loaded machine that has been wrong by a
factor of three, and every clock and time-out in the host with it; so the kernel is told.
"""

import ctypes
import functools
import mmap
import time

# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
RDTSC = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"
SPAN = 0.1         # seconds between the two readings
PRECISE = 10_000   # ns that one reading may take: 0.01 % of the span


@functools.cache
def khz():
    """Measured once against the monotonic clock, to about 0.02 %."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(RDTSC)
    # SAFETY: the code clobbers only rax and rdx, and the page lives as long as the call uses it.
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    first_time, first_ticks = _reading(rdtsc)
    time.sleep(SPAN)
    second_time, second_ticks = _reading(rdtsc)
    return (second_ticks - first_ticks) * 1_000_000 // (second_time - first_time)


def _reading(rdtsc):
    """(ns, ticks) of the same moment; tries again when it was interrupted between the two."""
    best = None
    for _ in range(100):
        before, ticks, after = time.monotonic_ns(), rdtsc(), time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, ticks)
        if best[0] < PRECISE:
            break
    return best[1:]
