"""How many descriptors the process may have open: one for each connection, each open file, each end of a pipe."""

import errno
import os
import resource
from dataclasses import dataclass

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
"""What a call fails with that needs one more descriptor than there may be: the process's own, or the machine's."""


@dataclass(frozen=True)
class Raised:
    """The soft limit.

    :param before: what it was.
    :param now: what it is.
    """

    before: int
    now: int


def raise_limit() -> Raised:
    """Raise the soft limit to the hard one, which shells and service managers leave far above it (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Raised(soft, hard)


def open_now() -> int:
    """Return how many are open; when there is none left to find out with, how many there may be."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as error:
        if error.errno not in EXHAUSTED:
            raise
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
