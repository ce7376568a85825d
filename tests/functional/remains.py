"""What a server has left over when it has nothing to do: files on disk, descriptors, children."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.cleanliness import GRACE, child_processes


def descriptors() -> Counter[str]:
    """Count this process's open descriptors by what they refer to; sockets and pipes by kind only.

    Those below ``/proc`` are the tests' own, which look at processes meanwhile.
    """
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        kind = target.partition(":[")[0]
        if not target.startswith("/proc/"):
            found[kind] += 1
    return found


def temporary_files(state: Path) -> list[str]:
    """Name what lies in a state directory only while something is under way."""
    patterns = ("spools/*", "scratch/*", "packs/*.part", "mirrors/.aside/*", "mirrors/**/tmp_*", "mirrors/**/*.lock")
    found = [path for pattern in patterns for path in state.glob(pattern)]
    return sorted(str(path.relative_to(state)) for path in found)


def files(state: Path) -> set[str]:
    """Name everything in a state directory; what goes while it is looked through is not there."""
    found = (Path(place, name) for place, below, names in os.walk(state) for name in (*below, *names))
    return {str(path.relative_to(state)) for path in found}


@implementer(IReadDescriptor)
class _Ending:
    """A child on its way to its end, by a descriptor that can be read then (pidfd_open(2)).

    :raise ProcessLookupError: when it has been reaped.
    """

    def __init__(self, *, reactor: Any, pid: int) -> None:
        self._reactor, self._descriptor = reactor, os.pidfd_open(pid)
        self.ended: Deferred[None] = Deferred(lambda _: self._close())
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "the end of a child"

    def doRead(self) -> None:
        self._close()
        self.ended.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        self._close()

    def _close(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._descriptor)


async def children_ended(reactor: Any) -> None:
    """Wait until no child of this process lives; the check after a test that waits in vain names those that do."""
    while running := list(child_processes()):
        for pid in running:
            with suppress(ProcessLookupError):
                await _Ending(reactor=reactor, pid=pid).ended


async def settle(reactor: Any, remains: Callable[[], object]) -> Any:
    """Let connections close and files go, then say what remains.

    Nothing tells when a descriptor has been closed or a file has gone, so that they have some turns of the reactor, and
    then a while. Children that are to end are waited for by :func:`children_ended` before.

    :param remains: says what is left over, something false for nothing.
    """
    for pause in GRACE:
        if not remains():
            break
        await deferLater(reactor, pause, lambda: None)
    return remains()
