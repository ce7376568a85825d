"""How failures of work that nobody waits for are told: the world's in one line, our own with a traceback."""

import sqlite3
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.errors import CachewError

_OF_THE_WORLD = (CachewError, OSError, TimedOut, sqlite3.Error)
"""Disks that are full, read-only or gone, upstreams and stores in trouble, time limits."""


def log_failure(log: Logger, subject: str, failure: Failure, **fields: Any) -> None:
    """Log that something failed; work that was broken off has not.

    :param log: whose log.
    :param subject: what failed, with the ``fields`` in braces, e.g. ``snapshot of {repository}``.
    """
    if failure.check(CancelledError):
        return
    if failure.check(*_OF_THE_WORLD):
        log.warn(
            f"{subject} failed: {{error}}", error=failure.getErrorMessage() or type(failure.value).__name__, **fields
        )
    else:
        log.failure(f"{subject} failed", failure=failure, **fields)
