"""How a mirror stays in shape: its packs are indexed and joined.

One piece of this at a time. Indexing goes on beside fetches; whatever takes packs away, or looks at all of them, holds
the mirror's own lock too.
"""

from collections.abc import Callable

from twisted.logger import Logger

from cachew.mirrors.locks import MirrorLocks
from cachew.mirrors.repository import Repository
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.threads import Threads

_MANY_PACKS = 24
_FETCHES = 8
_KEEP_DAYS = 7
"""Days for which objects that lost their ref are kept."""


class Maintenance:
    """Maintains one mirror.

    :param name: the repository's, for the log.
    :param locks: the mirror's locks.
    :param find: gives the repository while it may be served from, else None.
    :param clock: what time it is.
    :param threads: for blocking file work.
    :param background: where packs are indexed that nobody waits for.
    """

    log = Logger()

    def __init__(
        self,
        *,
        name: str,
        locks: MirrorLocks,
        find: Callable[[], Repository | None],
        clock: Clock,
        threads: Threads,
        background: Background,
    ) -> None:
        self._name = name
        self._locks = locks
        self._find = find
        self._clock = clock
        self._threads = threads
        self._background = background
        self._index_due = self._bitmaps_due = False
        self._indexed_at = 0

    def index_behind(self) -> None:
        """Have packs indexed in the background."""
        self._background.start(self.index_packs(), f"indexing of {self._name}")

    async def index_after_fetch(self, fetches: int) -> None:
        """Write the commit-graph when there have been several fetches since: a single one adds little to walk.

        What stays without is taken up by the next repack.

        :param fetches: how many there have been in all; several listings may have had one of them made.
        """
        if fetches - self._indexed_at >= _FETCHES:
            self._indexed_at = fetches
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
            await self._locks.upkeep.acquire()
        finally:
            self._index_due = False
        try:
            await self._index_packs()
        finally:
            self._locks.upkeep.release()

    async def _index_packs(self) -> None:
        bitmaps, self._bitmaps_due = self._bitmaps_due, False
        if (repository := self._find()) and repository.packs.count() > _MANY_PACKS:
            # Whoever links or copies packs holds this lock; no pack may go meanwhile.
            async with self._locks.exclusive():
                if repository := self._find():
                    await repository.packs.repack(full=False)
                    bitmaps = True
        if repository := self._find():
            await repository.packs.index(bitmaps=bitmaps)

    async def repack(self) -> None:
        """Join all packs into one and drop what was given up long ago.

        :raise CachewError: when it fails. It reads every object; what it can't read is looked into.
        """
        async with self._locks.alone():
            if repository := self._find():
                await self._repack(repository)

    async def _repack(self, repository: Repository) -> None:
        started, before = self._clock.seconds(), await self._threads(repository.packs.size)
        await repository.refs.expire(self._clock.now(), days=_KEEP_DAYS)
        await repository.packs.repack(full=True)
        repository.intake.links.restored()
        self.log.info(
            "repacked {repository}, {before} bytes to {after}, in {seconds:.1f}s",
            repository=self._name,
            before=before,
            after=await self._threads(repository.packs.size),
            seconds=self._clock.seconds() - started,
        )
