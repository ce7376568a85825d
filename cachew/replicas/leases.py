"""Leases: of several replicas one does a piece of work, and another takes over when that one is gone.

The holder changes a counter in the lease's record again and again. Whoever wants the lease watches that counter, by a
clock of its own: when it has not moved for the lease's duration the holder is taken for dead. Clocks of different
machines are never compared; they may differ by minutes. A record that is damaged may be that of a holder who lives: it
is watched like any other, and a holder who meets it gives up.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict, StorageUnavailable
from cachew.plumbing.patience import ended_within
from cachew.replicas.change import said, tell_damaged
from cachew.replicas.lease import Hold, Lease, LeaseLost, record_of
from cachew.replicas.records import Records, Versioned

T = TypeVar("T")

_RELEASE = 2.0
"""Seconds in which a lease can be released; after that others have it when its duration is over."""
_MOST_WATCHED = 10_000
_WATCHED_FOR = 30 * 86400.0
"""Seconds, longer than any interval: whoever asks once in it must find what he watched the time before."""


@dataclass(frozen=True)
class _WatchedLease:
    """A lease of another replica: its version, since when it has that, and when it was last asked for."""

    version: str
    since: float
    asked: float


@dataclass(frozen=True)
class Watching:
    """What is known of another replica's lease.

    :param name: the piece of work.
    :param unchanged: for how many seconds its holder has given no sign of life.
    """

    name: str
    unchanged: float


class Leases:
    """Leases: whoever has one does a piece of work, the other replicas leave it alone.

    :param records: where the leases lie.
    :param holder: this replica's name among its like, for the log of others; need not be unique.
    :param reactor: gives the turns in which a lease is renewed.
    :param clock: for durations.
    :param duration: seconds without a sign of life after which a holder is taken for dead.
    :param unique: makes a text that was never made before.
    """

    log = Logger()

    def __init__(
        self,
        *,
        records: Records,
        holder: str,
        reactor: IReactorTime,
        clock: Clock,
        duration: float = 60.0,
        unique: Callable[[], str],
    ) -> None:
        self._records = records
        self._holder = holder
        self._reactor = reactor
        self._clock = clock
        self._duration = duration
        self._unique = unique
        self._watched: OrderedDict[str, _WatchedLease] = OrderedDict()
        self._held: dict[str, float] = {}

    @property
    def held(self) -> Mapping[str, float]:
        """The leases that this replica has, and since when, in seconds since the epoch."""
        return self._held

    @property
    def watched(self) -> int:
        """How many leases of other replicas are watched."""
        return len(self._watched)

    def known(self) -> list[Watching]:
        """Return what is known of the leases that other replicas have."""
        now = self._clock.seconds()
        return [Watching(name, now - watched.since) for name, watched in self._watched.items()]

    async def acquire(self, name: str) -> Lease | None:
        """Take a lease that is free or whose holder is dead.

        A replica that meets a lease for the first time finds its holder alive, and dead at the earliest one duration
        later: it has to ask again.

        :return: None when another replica has it.
        :raise StorageUnavailable: when the storage fails.
        """
        found = await self._records.get(record_of(name))
        present = said(found, Hold.read)
        if found is not None and (present is None or present.holder is not None) and not self._silent(name, found):
            return None
        hold = Hold(self._holder, self._unique(), 0)
        began = self._clock.seconds()
        try:
            version = None if found is None else found.version
            put = await self._records.put(record_of(name), asdict(hold), version=version)
        except Conflict:
            return None
        self._watched.pop(name, None)
        self._tell(name, found, present)
        # Counted as lost well before anybody else may take it.
        return Lease(
            records=self._records,
            name=name,
            hold=hold,
            version=put.version,
            clock=self._clock,
            since=began,
            lost_after=self._duration * 2 / 3,
        )

    def _silent(self, name: str, found: Versioned) -> bool:
        now = self._clock.seconds()
        watched = self._watched.pop(name, None)
        if watched is None or watched.version != found.version:
            watched = _WatchedLease(found.version, now, now)
        self._watched[name] = replace(watched, asked=now)
        self._forget_unwatched(now)
        return now - watched.since >= self._duration

    def _forget_unwatched(self, now: float) -> None:
        """Watch no more what nobody asks for: tasks of repositories that are gone."""
        while self._watched:
            oldest = next(iter(self._watched))
            if len(self._watched) <= _MOST_WATCHED and now - self._watched[oldest].asked < _WATCHED_FOR:
                return
            del self._watched[oldest]

    def _tell(self, name: str, found: Versioned | None, taken_from: Hold | None) -> None:
        if found is not None and taken_from is None:
            tell_damaged(record_of(name))
        elif taken_from is not None and taken_from.holder is not None:
            self.log.warn("lease {name} taken from {holder}, which is silent", name=name, holder=taken_from.holder)

    async def run(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Do a piece of work under a lease, if it is to be had.

        :return: the work's result, None when another replica has the lease.
        :raise LeaseLost: when the lease was lost meanwhile; the work was cancelled.
        """
        lease = await self.acquire(name)
        if lease is None:
            return None
        self._held[name] = self._clock.now()
        working = Deferred.fromCoroutine(work())
        lost: list[LeaseLost] = []
        beating = Deferred.fromCoroutine(self._beat(lease, working, lost))
        try:
            return await working
        except CancelledError:
            if lost:
                raise lost[0] from None
            raise
        finally:
            self._held.pop(name, None)
            beating.cancel()
            await beating
            if not lost:
                # Whoever waits for the end of this, like a server that goes, must not wait for a store that hangs.
                await ended_within(self._reactor, _RELEASE, lease.release())

    async def _beat(self, lease: Lease, working: Deferred[Any], lost: list[LeaseLost]) -> None:
        try:
            while True:
                await deferLater(self._reactor, self._duration / 4)
                with suppress(StorageUnavailable):
                    # A storage that hangs must not keep the work going for longer than the lease is sure.
                    await Deferred.fromCoroutine(lease.renew()).addTimeout(lease.left, self._reactor)
        except CancelledError:
            return
        except TimeoutError:
            lost.append(LeaseLost(f"the lease {lease.name} could not be renewed in time"))
            working.cancel()
        except LeaseLost as error:
            lost.append(error)
            working.cancel()
