"""A process that has no descriptor left."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ROOM = 16


@contextmanager
def exhausted(give_up: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Take all descriptors that may be open while the block runs.

    :param give_up: closes something of the test's own once none is left; what that frees is taken too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + _ROOM, hard))
    try:
        _take(taken)
        give_up()
        _take(taken)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def _take(taken: list[int]) -> None:
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return
