"""Lets two directories change places in one step."""

import errno
import os
from pathlib import Path

_HERE = -100
_EXCHANGE = 2
_MISSING = (errno.ENOSYS, errno.EINVAL)


def exchange(first: Path, second: Path) -> None:
    """Exchange two directories of one file system (renameat2(2), ``RENAME_EXCHANGE``).

    Where the system or the file system has no such call, there is an instant in which the second is not there.

    :raise OSError: when it does not go; both are then as they were.
    """
    try:
        _exchange_at_once(first, second)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        _exchange_by_renaming(first, second)


def _exchange_at_once(first: Path, second: Path) -> None:
    import ctypes  # which only those wait for who replace something

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(second))


def _exchange_by_renaming(first: Path, second: Path) -> None:
    aside = first.with_name(f"{first.name}.old")
    os.rename(second, aside)
    try:
        os.rename(first, second)
    except OSError:
        os.rename(aside, second)
        raise
    os.rename(aside, first)
