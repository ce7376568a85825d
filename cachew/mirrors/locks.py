"""What is held while one works on a mirror. Serving never takes any of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock

from cachew.mirrors.coalescing import holding
from cachew.plumbing.sharedlock import SharedLock


class MirrorLocks:
    """The locks of one mirror.

    :ivar refs: held by whoever brings the refs to where the upstream's are.
    :ivar packs: held together by those who add packs, alone by whoever takes some away or lists them.
    :ivar upkeep: held by whoever indexes or joins packs, or looks for damage.
    """

    def __init__(self) -> None:
        self.refs = DeferredLock()
        self.packs = SharedLock()
        self.upkeep = DeferredLock()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold off fetches, repacks and archives while the block runs.

        What comes by its id is waited for first, while the upstream's refs go on being followed.
        """
        async with self.packs.alone(), holding(self.refs):
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold off everything but serving while the block runs."""
        async with holding(self.upkeep), self.exclusive():
            yield

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """Hold off whatever takes packs away while the block runs; fetches go on."""
        async with holding(self.upkeep):
            yield
