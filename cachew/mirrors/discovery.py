"""The mirrors that are on disk when the server starts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from twisted.logger import Logger

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.repository import Repository, Stock
from cachew.plumbing.errors import CachewError
from cachew.plumbing.threads import Threads
from cachew.plumbing.together import all_of
from cachew.plumbing.waiters import Waiters

_AT_ONCE = 50
"""Mirrors that are opened together."""
_BATCHES = 2
"""So many times that many are being opened at a time."""


class Discovery:
    """Finds mirrors on disk.

    :param mirrors: the mirrors, among which they come.
    :param root: where they lie.
    :param threads: for looking.
    :param done: whether there is nothing to be found.
    :ivar done: whether it is known what is on disk.
    """

    log = Logger()

    def __init__(self, *, mirrors: Mirrors, root: MirrorRoot, threads: Threads, done: bool = False) -> None:
        self._mirrors = mirrors
        self._root = root
        self._threads = threads
        self.done = done
        self._waiting = Waiters()

    async def discover(self) -> None:
        """Open every mirror on disk; whatever else lies under the root is removed."""
        found = list((await self._threads(self._root.scan)).items())
        batches = iter([found[start : start + _AT_ONCE] for start in range(0, len(found), _AT_ONCE)])
        # While a thread looks at some on disk, others are put together here.
        await all_of(self._open_each(batches) for _ in range(_BATCHES))
        self._mirrors.count()
        self.done = True
        self._waiting.wake()

    async def wait(self) -> None:
        """Wait until it is known what is on disk."""
        if not self.done:
            await self._waiting.wait()

    async def _open_each(self, batches: Iterator[Sequence[tuple[Identity, MirrorRecord]]]) -> None:
        for batch in batches:
            await self._open(batch)

    async def _open(self, records: Iterable[tuple[Identity, MirrorRecord]]) -> None:
        mirrors = []
        for identity, record in records:
            with self._not_served(identity):
                mirrors.append((self._mirrors.new(identity), record))
        looked = await self._threads(_look_at, mirrors)
        for (mirror, _), found in zip(mirrors, looked, strict=True):
            with self._not_served(mirror.identity):
                if isinstance(found, Exception):
                    raise found
                await mirror.take_up(found)
                self._mirrors.adopt(mirror)

    @contextmanager
    def _not_served(self, identity: Identity) -> Iterator[None]:
        """Go on without a mirror that can't be opened."""
        try:
            yield
        except (CachewError, OSError, ValueError) as error:
            # A host that the config no longer names keeps its mirrors on disk, unserved; what is damaged is made anew.
            self.log.warn("not serving {repository}: {error}", repository=identity.name, error=str(error))


def _look_at(
    mirrors: Iterable[tuple[Mirror, MirrorRecord]],
) -> list[tuple[MirrorRecord, Repository, Stock] | Exception | None]:
    """See what is at the places of mirrors (blocking)."""
    found: list[tuple[MirrorRecord, Repository, Stock] | Exception | None] = []
    for mirror, record in mirrors:
        try:
            found.append(mirror.look(record))
        except (CachewError, OSError, ValueError) as error:
            found.append(error)
    return found
