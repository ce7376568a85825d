"""The first look at each mirror that an earlier run has left.

A server with thousands of mirrors is ready before it has gone through them. Each is looked at before anything is
answered from it or done with it: what a killed git has left there is removed, and it is found out whether anybody has
written to what was verified. One that is asked for is looked at at once, the others a few at a time. One that the disk
holds up is left behind: it comes among the others when its look ends, and nobody waits for it meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors.heldup import Batch, Found, HeldUp, held_up
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import CachewError, StorageUnavailable
from cachew.plumbing.patience import ended_within
from cachew.plumbing.shared import Shared
from cachew.plumbing.threads import Threads
from cachew.plumbing.together import all_of
from cachew.plumbing.waiters import Waiters

_AT_ONCE = 20
"""Mirrors that are put together in one turn of the reactor, which takes some milliseconds."""
_BATCHES = 2
"""So many times that many are being looked at a time: while a thread looks at some, others are put together."""


class FirstLooks:
    """Looks at mirrors that nobody has looked at since the start.

    :param new: makes a mirror that is not among the others yet.
    :param adopt: takes one among them.
    :param threads: for looking.
    :param reactor: bounds waits.
    :ivar unseen: what those on disk that nobody has looked at yet say of themselves.
    :ivar ended: those that were found to be of an instance that has ended.
    """

    log = Logger()

    def __init__(
        self,
        *,
        new: Callable[[Identity], Mirror],
        adopt: Callable[[Mirror], object],
        threads: Threads,
        reactor: IReactorTime,
    ) -> None:
        self.unseen: dict[Identity, MirrorRecord] = {}
        self.ended: list[Identity] = []
        self._new = new
        self._adopt = adopt
        self._threads = threads
        self._reactor = reactor
        self._under_way: set[Identity] = set()
        self._held_up = HeldUp(reactor)
        self._looks: Shared[Identity, None] = Shared(keep=True)
        self._seen = Waiters()

    def expect(self, found: Mapping[Identity, MirrorRecord]) -> None:
        """Take note of what was found on disk."""
        self.unseen.update(found)

    async def look(self, identity: Identity, patience: float | None = None) -> None:
        """Have a repository's mirror looked at, if there is one and that was not done yet.

        :param patience: seconds after which it goes on without whoever asks; None for as long as it takes.
        :raise StorageUnavailable: when the disk holds it up, unless it is only waited for with patience.
        """
        if identity not in self.unseen:
            return
        if patience is None:
            await self._look(identity)
        elif identity not in self._held_up:
            with suppress(StorageUnavailable):
                await ended_within(self._reactor, patience, self._look(identity))

    async def _look(self, identity: Identity) -> None:
        while identity in self.unseen and identity in self._under_way:
            if identity in self._looks or identity in self._held_up:
                break
            await self._seen.wait()
        if identity in self.unseen and identity in self._held_up:
            raise held_up(identity)
        if identity in self.unseen:
            await self._looks.run(identity, lambda: self._open_one(identity))

    async def _open_one(self, identity: Identity) -> None:
        if (failure := await self._open([identity])) is not None:
            raise failure

    async def look_through(self) -> None:
        """Look at all that nobody has asked for; to be called again for those that could not be looked at for now."""
        waiting = iter(list(self.unseen))
        await all_of(self._take_turns(waiting) for _ in range(_BATCHES))
        while len(self._under_way) > self._held_up.count:
            await self._seen.wait()

    async def _take_turns(self, waiting: Iterator[Identity]) -> None:
        while not self._held_up.by_disk and (batch := list(islice(waiting, _AT_ONCE))):
            await self._open([one for one in batch if one in self.unseen and one not in self._under_way])

    async def over(self) -> None:
        """Wait until all were looked at but those that the disk holds up."""
        while len(self.unseen) > self._held_up.count and not self._held_up.by_disk:
            await self._seen.wait()

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._looks.stop()
        self._held_up.stop()

    async def _open(self, identities: Sequence[Identity]) -> Exception | None:
        """Look at some.

        :return: why some could not be looked at for now, and stay as they are; None when all were.
        """
        failure: Exception | None = None
        self._under_way.update(identities)
        try:
            left = list(self._made(identities))
            while left and not self._held_up.by_disk:
                batch = Batch(left)
                seen = await self._held_up.looked_at(batch, self._threads, self._take_late)
                for (mirror, _), found in zip(left[:seen], batch.found, strict=False):
                    failure = await self._take(mirror, found) or failure
                if seen < len(left):
                    failure = held_up(left[seen][0].identity)
                    self._tell(left[seen][0].identity, failure)
                    self._seen.wake()
                left = left[seen + 1 :]
        finally:
            self._under_way.difference_update(set(identities).difference(self._held_up.mirrors))
            self._seen.wake()
        return failure

    async def _take_late(self, mirror: Mirror, found: Sequence[Found | Exception]) -> None:
        try:
            for one in found:
                await self._take(mirror, one)
        finally:
            self._under_way.discard(mirror.identity)
            self._seen.wake()

    async def _take(self, mirror: Mirror, found: Found | Exception) -> Exception | None:
        """Serve what was found at a mirror's place.

        :return: why it could not be looked at for now, None when it was.
        """
        if isinstance(found, OSError) and found.errno in EXHAUSTED:
            return found
        with self._not_served(mirror.identity):
            if isinstance(found, Exception):
                raise found
            await mirror.take_up(found)
            self._adopt(mirror)
            if mirror.life.state is MirrorState.EMPTY:
                self.ended.append(mirror.identity)
        self.unseen.pop(mirror.identity, None)
        return None

    def _made(self, identities: Iterable[Identity]) -> Iterator[tuple[Mirror, MirrorRecord]]:
        for identity in identities:
            try:
                yield self._new(identity), self.unseen[identity]
            except CachewError as error:
                # A host that the config no longer names keeps its mirrors on disk, unserved.
                self._tell(identity, error)
                del self.unseen[identity]

    @contextmanager
    def _not_served(self, identity: Identity) -> Iterator[None]:
        """Go on without a mirror that can't be opened: it is made anew."""
        try:
            yield
        except CancelledError:
            raise
        except (CachewError, OSError, ValueError) as error:
            self._tell(identity, error)
        except Exception:
            self.log.failure("not serving {repository}", repository=identity.name)

    def _tell(self, identity: Identity, error: Exception) -> None:
        self.log.warn("not serving {repository}: {error}", repository=identity.name, error=str(error))
