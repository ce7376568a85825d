"""Looks at mirrors that the disk holds up: each is left behind with its thread, and taken up when it ends."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from threading import Lock
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.mirrors.repository import Repository, Stock
from cachew.plumbing.errors import StorageUnavailable
from cachew.plumbing.patience import ended_or_late
from cachew.plumbing.threads import Threads

LATE = 30.0
"""Seconds from which a look at one mirror is taken to hang; it takes a millisecond or two."""
_MOST_LATE = 2
"""So many hanging looks are the disk's; each has a thread, and no more are begun."""

Found = tuple[MirrorRecord, Repository, Stock] | None
"""What was found at a mirror's place, see :meth:`cachew.mirrors.mirror.Mirror.look`."""


class Batch:
    """Mirrors that a thread looks at one after the other.

    :param mirrors: these, and what they say of themselves.
    :ivar found: what was found of the first of them, as many as were looked at.
    """

    def __init__(self, mirrors: Sequence[tuple[Mirror, MirrorRecord]]) -> None:
        self.mirrors = mirrors
        self.found: list[Found | Exception] = []
        self._lock = Lock()
        self._given_up = False

    def look(self) -> None:
        """See what is at their places (blocking); one that can't be opened keeps no other from it."""
        for mirror, record in self.mirrors:
            seen = _look_at(mirror, record)
            with self._lock:
                self.found.append(seen)
                if self._given_up:
                    return

    def give_up(self) -> int:
        """Let the look under way be the last one, and say how many have ended."""
        with self._lock:
            self._given_up = True
            return len(self.found)


class HeldUp:
    """The looks that are held up.

    :param reactor: bounds waits.
    :ivar mirrors: whose they are, and what ends with each.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self.mirrors: dict[Identity, Deferred[None]] = {}

    def __contains__(self, identity: Identity) -> bool:
        """Whether a mirror can't be looked at for now."""
        return identity in self.mirrors or self.by_disk

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.mirrors)

    @property
    def by_disk(self) -> bool:
        """Whether it is the disk that hangs, rather than one mirror."""
        return len(self.mirrors) >= _MOST_LATE

    async def looked_at(
        self,
        batch: Batch,
        threads: Threads,
        take: Callable[[Mirror, Sequence[Found | Exception]], Coroutine[Any, Any, None]],
    ) -> int:
        """Have a thread look at mirrors until that is done, or it stands still at one, which is left to it.

        :param take: is given that one when its look ends, and what was found, or nothing.
        :return: how many it has looked at.
        """
        looking, before = Deferred.fromCoroutine(threads(batch.look)), -1
        while not looking.called and before != len(batch.found):
            before = len(batch.found)
            await ended_or_late(self._reactor, LATE, looking)
        seen = batch.give_up()
        if looking.called or seen == len(batch.mirrors):
            await looking
        else:
            mirror = batch.mirrors[seen][0]
            looking.addBoth(lambda _: Deferred.fromCoroutine(self._ended(mirror, take(mirror, batch.found[seen:]))))
            self.mirrors[mirror.identity] = looking.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return seen

    async def _ended(self, mirror: Mirror, taking: Awaitable[None]) -> None:
        del self.mirrors[mirror.identity]
        await taking

    def stop(self) -> None:
        """Wait for none of them any more."""
        for looking in list(self.mirrors.values()):
            looking.cancel()


def _look_at(mirror: Mirror, record: MirrorRecord) -> Found | Exception:
    try:
        return mirror.look(record)
    except Exception as error:
        return error


def held_up(identity: Identity) -> StorageUnavailable:
    """Return what is told of a mirror that can't be looked at for now."""
    return StorageUnavailable(f"the disk holds up a look at the mirror of {identity.name}")
