"""The first look at each mirror that an earlier run has left.

A server with thousands of mirrors is ready before it has gone through them. Each is looked at before anything is
answered from it or done with it: what a killed git has left there is removed, and it is found out whether anybody has
written to what was verified. One that is asked for is looked at at once, the others a few at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.mirrors.repository import Repository, Stock
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import CachewError
from cachew.plumbing.patience import ended_within
from cachew.plumbing.shared import Shared
from cachew.plumbing.threads import Threads
from cachew.plumbing.together import all_of
from cachew.plumbing.waiters import Waiters

_AT_ONCE = 20
"""Mirrors that are put together in one turn of the reactor, which takes some milliseconds."""
_BATCHES = 2
"""So many times that many are being looked at a time: while a thread looks at some, others are put together."""

_Found = tuple[MirrorRecord, Repository, Stock] | None


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
        self._looks: Shared[Identity, None] = Shared(keep=True)
        self._seen = Waiters()

    def expect(self, found: Mapping[Identity, MirrorRecord]) -> None:
        """Take note of what was found on disk."""
        self.unseen.update(found)

    async def look(self, identity: Identity, patience: float | None = None) -> None:
        """Have a repository's mirror looked at, if there is one and that was not done yet.

        :param patience: seconds after which it goes on without whoever asks; None for as long as it takes.
        """
        if identity not in self.unseen:
            return
        if patience is None:
            await self._look(identity)
        else:
            await ended_within(self._reactor, patience, self._look(identity))

    async def _look(self, identity: Identity) -> None:
        while identity in self._under_way and identity not in self._looks:
            await self._seen.wait()
        if identity in self.unseen:
            await self._looks.run(identity, lambda: self._open_one(identity))

    async def _open_one(self, identity: Identity) -> None:
        if (failure := await self._open([identity])) is not None:
            raise failure

    async def look_through(self) -> None:
        """Look at all that nobody has asked for; to be called again for those for which there was no descriptor."""
        waiting = iter(list(self.unseen))
        await all_of(self._take_turns(waiting) for _ in range(_BATCHES))
        while self._under_way:
            await self._seen.wait()

    async def _take_turns(self, waiting: Iterator[Identity]) -> None:
        while batch := list(islice(waiting, _AT_ONCE)):
            await self._open([one for one in batch if one in self.unseen and one not in self._under_way])

    async def over(self) -> None:
        """Wait until all were looked at."""
        while self.unseen:
            await self._seen.wait()

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._looks.stop()

    async def _open(self, identities: Sequence[Identity]) -> OSError | None:
        """Look at some.

        :return: why some could not be looked at for now, and stay as they are; None when all were.
        """
        exhausted = None
        self._under_way.update(identities)
        try:
            mirrors = list(self._made(identities))
            looked = await self._threads(_look_at, mirrors)
            for (mirror, _), found in zip(mirrors, looked, strict=True):
                if isinstance(found, OSError) and found.errno in EXHAUSTED:
                    exhausted = found
                    continue
                with self._not_served(mirror.identity):
                    if isinstance(found, Exception):
                        raise found
                    await mirror.take_up(found)
                    self._adopt(mirror)
                    if mirror.life.state is MirrorState.EMPTY:
                        self.ended.append(mirror.identity)
                self.unseen.pop(mirror.identity, None)
        finally:
            self._under_way.difference_update(identities)
            self._seen.wake()
        return exhausted

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


def _look_at(mirrors: Iterable[tuple[Mirror, MirrorRecord]]) -> list[_Found | Exception]:
    """See what is at the places of mirrors (blocking); one that can't be opened keeps no other from it."""
    found: list[_Found | Exception] = []
    for mirror, record in mirrors:
        try:
            found.append(mirror.look(record))
        except Exception as error:
            found.append(error)
    return found
