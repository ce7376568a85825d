"""A process that the system lets have less."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD = 3


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    """Let the process have no more of something while the block runs.

    :param kind: one of the ``RLIMIT_`` constants.
    """
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Have the system refuse what goes beyond a size, as a full disk does."""
    with limited(resource.RLIMIT_FSIZE, size):
        yield


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have the system open no more files."""
    with limited(resource.RLIMIT_NOFILE, _STANDARD):
        yield
