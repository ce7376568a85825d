"""Keeps the mirrors within the space and the time that the operator gives them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors.coalescing import holding
from cachew.mirrors.collection import Mirrors, was_removed
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import SERVING
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.quota import MirrorBounds, MirrorUse, superfluous
from cachew.mirrors.succession import Succession
from cachew.mirrors.usage import MirrorUsage
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.threads import Threads

_AT_ONCE = 100
"""Mirrors that a thread looks at before others have their turn."""


class Tidying:
    """Forgets mirrors that nobody needs.

    :param mirrors: the mirrors.
    :param succession: knows those of instances that have ended.
    :param usage: knows when they were last asked for.
    :param threads: for looking at files.
    :param background: where what has grown is looked at.
    :param clock: what time it is.
    :param bounds: how much they may occupy, and how long they are kept.
    """

    log = Logger()

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        succession: Succession,
        usage: MirrorUsage,
        threads: Threads,
        background: Background,
        clock: Clock,
        bounds: MirrorBounds,
    ) -> None:
        self._mirrors = mirrors
        self._succession = succession
        self._usage = usage
        self._threads = threads
        self._background = background
        self._clock = clock
        self._bounds = bounds
        self._sizes: dict[str, int] = {}
        self._grown: set[str] = set()
        self._turn = DeferredLock()

    def replace(self, bounds: MirrorBounds) -> None:
        """Go by these bounds from the next turn on."""
        self._bounds = bounds

    def forget(self, identity: Identity) -> None:
        """Know nothing any more of a repository."""
        self._sizes.pop(identity.name, None)

    async def tidy(self) -> None:
        """Forget what is superfluous, then write down what is known of the rest."""
        await self._mirrors.first_looks.over()
        await self._let_go_of_removed()
        async with holding(self._turn):
            self._sizes = {}
            await self._forget_superfluous(self._bounds)
            await self._succession.remove_left()
        known = {mirror.identity.name for mirror in self._mirrors.known()}
        known |= {identity.name for identity in self._mirrors.first_looks.unseen}
        self._usage.keep_only(known)
        await self._usage.save()

    def grown(self, identity: Identity) -> None:
        """Take notice that a mirror has grown, or is there: if all are too large now, those used least go at once."""
        if not self._bounds.limit:
            return
        waiting = bool(self._grown)
        self._grown.add(identity.name)
        if not waiting:
            self._background.start(self._fit(), "fitting of all mirrors")

    async def _fit(self) -> None:
        async with holding(self._turn):
            for name in self._grown:
                self._sizes.pop(name, None)
            self._grown = set()
            await self._forget_superfluous(MirrorBounds(limit=self._bounds.limit))

    async def _let_go_of_removed(self) -> None:
        """Forget the mirrors whose directories somebody has removed."""
        for some in _in_portions(self._mirrors.known()):
            for mirror in await self._threads(_removed, some):
                self._mirrors.find(mirror.identity)

    async def _forget_superfluous(self, bounds: MirrorBounds) -> None:
        if not bounds.limit and not bounds.forget_after:
            return
        await self._mirrors.first_looks.over()
        # In doubt, it takes room too.
        there = [mirror for mirror in self._mirrors.known() if mirror.life.state in SERVING]
        for some in _in_portions([mirror for mirror in there if mirror.identity.name not in self._sizes]):
            self._sizes |= await self._threads(_sizes, some)
        kept = [self._kept(mirror) for mirror in self._mirrors.known() if mirror.identity.name in self._sizes]
        for identity in superfluous(kept, self._clock.now(), limit=bounds.limit, forget_after=bounds.forget_after):
            self.log.info("forgetting the mirror of {repository}, which is used least", repository=identity.name)
            await self._mirrors.forget(identity)

    def _kept(self, mirror: Mirror) -> MirrorUse:
        used = self._usage.last_used(mirror.identity)
        if used is None:
            used = mirror.life.last_fetch or self._clock.now()
        return MirrorUse(mirror.identity, self._sizes[mirror.identity.name], used)


def _in_portions(mirrors: Sequence[Mirror]) -> Iterator[Sequence[Mirror]]:
    """Yield a thread's work at a time: to hand over every mirror would take longer than to look at it."""
    for start in range(0, len(mirrors), _AT_ONCE):
        yield mirrors[start : start + _AT_ONCE]


def _removed(mirrors: Iterable[Mirror]) -> Sequence[Mirror]:
    """Return those that are not on disk any more (blocking)."""
    return list(filter(was_removed, mirrors))


def _sizes(mirrors: Iterable[Mirror]) -> dict[str, int]:
    """Return by repository's name what the packs of those take that are there (blocking)."""
    sizes = {}
    for mirror in mirrors:
        repository = mirror.place.found
        with suppress(FileNotFoundError):
            if repository is not None:
                sizes[mirror.identity.name] = repository.packs.size()
    return sizes
