"""Leases: of several replicas one does a piece of work, and another takes over when that one is gone.

The holder changes a counter in the lease's record again and again. Whoever wants the lease watches that counter, by a
clock of its own: when it has not moved for the lease's duration the holder is taken for dead. Clocks of different
machines are never compared; they may differ by minutes.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cachew.plumbing.errors import CachewError, Conflict, StorageUnavailable
from cachew.replicas.interface import Records, Versioned

T = TypeVar("T")


class LeaseLost(CachewError):
    """A lease went to another replica, or nobody knows whether it did."""


class Lease:
    """A lease that this replica holds.

    :param lost_after: seconds after which it counts as lost when it could not be renewed.
    """

    def __init__(
        self, *, records: Records, name: str, held: Versioned, clock: IReactorTime, lost_after: float
    ) -> None:
        self.name = name
        self._records, self._held, self._clock, self._lost_after = records, held, clock, lost_after
        self._renewed = clock.seconds()

    @property
    def left(self) -> float:
        """Seconds for which it is held for sure."""
        return max(self._renewed + self._lost_after - self._clock.seconds(), 0.0)

    async def renew(self) -> None:
        """Show that the holder lives.

        :raise LeaseLost: when another replica holds it by now, or it could not be renewed for so long that one may.
        """
        began = self._clock.seconds()
        try:
            await self._put({**self._held.value, "beat": self._held.value["beat"] + 1})
            self._renewed = began
        except Conflict:
            await self._reconsider()
        except StorageUnavailable as error:
            if not self.left:
                raise LeaseLost(f"the lease {self.name} could not be renewed") from error

    async def _reconsider(self) -> None:
        # A put whose answer was lost changed the record all the same, and the next one meets its own trace.
        found = await self._records.get(self.name)
        if found is None or found.value.get("term") != self._held.value["term"]:
            raise LeaseLost(f"the lease {self.name} went to another replica")
        self._held, self._renewed = found, self._clock.seconds()

    async def release(self) -> None:
        """Let others have it at once; when that fails they have it after its duration."""
        with suppress(CachewError):
            await self._put({**self._held.value, "holder": None})

    async def _put(self, value: Mapping[str, Any]) -> None:
        self._held = await self._records.put(self.name, value, version=self._held.version)


class Leases:
    """See the module.

    :param records: where the leases lie.
    :param holder: this replica's name among its like, for the log of others; need not be unique.
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
        clock: IReactorTime,
        duration: float = 60.0,
        unique: Callable[[], str],
    ) -> None:
        self._records, self._holder, self._clock, self._duration = records, holder, clock, duration
        self._unique = unique
        self._watched: dict[str, tuple[str, float]] = {}

    async def acquire(self, name: str) -> Lease | None:
        """Take a lease that is free or whose holder is dead.

        A replica that meets a lease for the first time finds its holder alive, and dead at the earliest one duration
        later: it has to ask again.

        :return: None when another replica has it.
        :raise StorageUnavailable: when the storage fails.
        """
        record_name = f"leases/{name}"
        found = await self._records.get(record_name)
        if found is not None and found.value.get("holder") is not None and not self._dead(name, found):
            return None
        value = {"holder": self._holder, "term": self._unique(), "beat": 0}
        try:
            held = await self._records.put(record_name, value, version=None if found is None else found.version)
        except Conflict:
            return None
        self._watched.pop(name, None)
        # Counted as lost well before anybody else may take it.
        return Lease(
            records=self._records, name=record_name, held=held, clock=self._clock, lost_after=self._duration * 2 / 3
        )

    def _dead(self, name: str, found: Versioned) -> bool:
        version, since = self._watched.get(name, ("", 0.0))
        now = self._clock.seconds()
        if version != found.version:
            self._watched[name] = found.version, now
            return False
        if now - since < self._duration:
            return False
        self.log.warn("lease {name} taken from {holder}, which is silent", name=name, holder=found.value.get("holder"))
        return True

    async def run(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Do a piece of work under a lease, if it is to be had.

        :return: the work's result, None when another replica has the lease.
        :raise LeaseLost: when the lease was lost meanwhile; the work was cancelled.
        """
        lease = await self.acquire(name)
        if lease is None:
            return None
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
            beating.cancel()
            await beating
            if not lost:
                await lease.release()

    async def _beat(self, lease: Lease, working: Deferred[Any], lost: list[LeaseLost]) -> None:
        try:
            while True:
                await deferLater(self._clock, self._duration / 4)
                with suppress(StorageUnavailable):
                    # A storage that hangs must not keep the work going for longer than the lease is sure.
                    await Deferred.fromCoroutine(lease.renew()).addTimeout(lease.left, self._clock)
        except CancelledError:
            return
        except TimeoutError:
            lost.append(LeaseLost(f"the lease {lease.name} could not be renewed in time"))
            working.cancel()
        except LeaseLost as error:
            lost.append(error)
            working.cancel()
