"""Large buffers, taken from the system when something is first written into them, in as few pieces as it gives.

A mapping that could be shared with other processes, which is what Python makes unless told otherwise, is a file in
memory: each of its pages costs several times as much, and is taken apart one by one at the end.
"""

import mmap
from contextlib import suppress


def new_buffer(size: int) -> memoryview:
    """Return writable memory of so many bytes."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return memoryview(mmap.mmap(-1, size))
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Pages of 2 MB where there are any: nobody waits then for five hundred of 4 kB.
    with suppress(AttributeError, OSError):
        room.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(room)
