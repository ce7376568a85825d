"""How a mirror stays in shape: its packs are indexed and joined.

One piece of this at a time. Indexing goes on beside fetches; whatever takes packs away, or looks at all of them, holds
the mirror's own lock too.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors.coalescing import holding
from cachew.mirrors.repository import Repository
from cachew.plumbing.clock import Clock
from cachew.plumbing.threads import Threads

_MANY_PACKS = 24
_FETCHES = 8


class Maintenance:
    """Maintains one mirror.

    :param name: the repository's, for the log.
    :param alone: holds the mirror's locks: one fetch, repack or archive at a time.
    :param find: gives the repository while it may be served from, else None.
    :param clock: what time it is.
    :param threads: for blocking file work.
    :param keep_days: how long objects that lost their ref are kept.
    """

    log = Logger()

    def __init__(
        self,
        *,
        name: str,
        alone: Callable[[], AbstractAsyncContextManager[None]],
        find: Callable[[], Repository | None],
        clock: Clock,
        threads: Threads,
        keep_days: int,
    ) -> None:
        self._name = name
        self._alone = alone
        self._find = find
        self._clock = clock
        self._threads = threads
        self._keep_days = keep_days
        self._turn = DeferredLock()
        self._index_due = self._bitmaps_due = False
        self._fetches = 0

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold off everything but serving while the block runs."""
        async with holding(self._turn), self._alone():
            yield

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """Hold off whatever takes packs away while the block runs; fetches go on."""
        async with holding(self._turn):
            yield

    async def index_after_fetch(self) -> None:
        """Write the commit-graph when there have been several fetches since: a single one adds little to walk.

        What stays without is taken up by the next repack.
        """
        self._fetches += 1
        if self._fetches >= _FETCHES:
            self._fetches = 0
            await self.index_packs(bitmaps=False)

    async def index_packs(self, *, bitmaps: bool = True) -> None:
        """Write the commit-graph and bitmaps; joins small packs first when there are many.

        Who comes while another waits for its turn to do the same leaves it to him.

        :param bitmaps: whether bitmaps are written though no packs are joined. After a fetch they are not: those that
            there are cover nearly everything, and writing them takes time in proportion to the whole repository.
        """
        self._bitmaps_due |= bitmaps
        if self._index_due:
            return
        self._index_due = True
        try:
            await self._turn.acquire()
        finally:
            self._index_due = False
        try:
            await self._index_packs()
        finally:
            self._turn.release()

    async def _index_packs(self) -> None:
        bitmaps, self._bitmaps_due = self._bitmaps_due, False
        if (repository := self._find()) and repository.pack_count() > _MANY_PACKS:
            # Whoever links or copies packs holds this lock; no pack may go meanwhile.
            async with self._alone():
                if repository := self._find():
                    await repository.repack(full=False)
                    bitmaps = True
        if repository := self._find():
            await repository.index_packs(bitmaps=bitmaps)

    async def repack(self) -> None:
        """Join all packs into one and drop what was given up long ago.

        :raise CachewError: when it fails. It reads every object; what it can't read is looked into.
        """
        async with self.alone():
            if repository := self._find():
                await self._repack(repository)

    async def _repack(self, repository: Repository) -> None:
        started, before = self._clock.seconds(), await self._threads(repository.size)
        await repository.refs.expire(self._clock.now(), days=self._keep_days)
        await repository.repack(full=True)
        self.log.info(
            "repacked {repository}, {before} bytes to {after}, in {seconds:.1f}s",
            repository=self._name,
            before=before,
            after=await self._threads(repository.size),
            seconds=self._clock.seconds() - started,
        )
