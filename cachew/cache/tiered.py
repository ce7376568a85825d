"""Several caches as one: the nearest is asked first, the last one is right.

The last tier is the authority, usually storage that replicas share. A copy in a nearer tier is served as long as the
authority has the same object; when it has another one or none the copy is removed. Asking the authority takes a short
bounded while, then the copy is served and the answer is used when it comes. A tier that fails is as good as empty.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.cache.debts import Debt, Debts
from cachew.cache.failover import NearEntry
from cachew.cache.filling import Filling
from cachew.cache.interface import (
    Adopting,
    Cache,
    Entry,
    ObjectInfo,
    ObjectOptions,
    Scrubbed,
    Stats,
    Writer,
    entity_tag,
    object_name,
)
from cachew.cache.presigned import PresignedAddresses
from cachew.cache.tieredwriter import TieredWriter, abort_all
from cachew.cache.tiers import Tier
from cachew.cache.validation import Validation, same
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import StorageUnavailable, TooLarge
from cachew.plumbing.journal import Journal
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import owned

T = TypeVar("T")

_log = Logger()

RETRY_AFTER = 5.0
"""Seconds for which a tier that has failed is left alone."""


@dataclass(frozen=True)
class TierTimes:
    """How long tiers are believed, waited for and left alone, in seconds.

    :param check_interval: for which the authority's answer about an object holds.
    :param check_wait: that a reader waits for that answer.
    :param retry_after: for which a tier is left alone after a failure.
    """

    check_interval: float = 1.0
    check_wait: float = 0.05
    retry_after: float = RETRY_AFTER


class TieredCache:
    """A cache of several tiers that is one to its users: the nearest that has an object gives it.

    :param tiers: one or more, the nearest first, by what logs and metrics call them; the last is the authority.
    :param reactor: for waits and intervals.
    :param clock: what time it is.
    :param times: how long tiers are believed, waited for and left alone.
    :param background: where copies are made and answers are awaited that nobody waits for.
    :param metrics: where hits, misses and failures are counted.
    :param debts: where it is written down what the last tier could not take or remove yet.
    """

    def __init__(
        self,
        *,
        tiers: Mapping[str, Cache],
        reactor: IReactorTime,
        clock: Clock,
        times: TierTimes = TierTimes(),
        background: Background | None = None,
        metrics: Metrics | None = None,
        debts: Journal[Debt] | None = None,
    ) -> None:
        if not tiers:
            raise ValueError("a tiered cache has at least one tier")
        metrics = metrics or Metrics()
        self._now = clock.now
        self.tiers = list(tiers.values())
        self._tiers = [
            Tier(cache=cache, name=name, clock=clock, retry_after=times.retry_after, metrics=metrics)
            for name, cache in tiers.items()
        ]
        self.presigned = PresignedAddresses(tiers=self._tiers, reactor=reactor, rest=times.retry_after).of
        """Returns an address in storage that replicas share, at which clients can read an object themselves."""
        self._authority = self._tiers[-1]
        self._background = Background() if background is None else background
        self._filling = Filling(tiers=self._tiers, clock=clock, background=self._background)
        self._debts = Debts(
            authority=self._authority,
            nearer=self._tiers[:-1],
            reactor=reactor,
            pause=times.retry_after,
            background=self._background,
            copy=self._filling.copy,
            journal=debts,
        )
        self._validation = Validation(
            authority=self._authority,
            nearer=self._tiers[:-1],
            owed=self._debts.__contains__,
            reactor=reactor,
            interval=times.check_interval,
            wait=times.check_wait,
            background=self._background,
        )

    async def start(self) -> None:
        """Start every tier; one that can't be started fails until :meth:`probe` has started it.

        :raise StorageUnavailable: when none can be started.
        """
        failures = []
        for tier in self._tiers:
            try:
                await tier.start()
            except StorageUnavailable as error:
                failures.append(error)
        if len(failures) == len(self._tiers):
            raise failures[0]
        await self._debts.start()

    async def stop(self) -> None:
        """End what goes on in the background and stop every tier."""
        await self._background.stop()
        for tier in self._tiers:
            await tier.cache.stop()

    async def open(self, namespace: str, key: str) -> Entry | None:
        """Open an object in the nearest tier that has the right one.

        :raise StorageUnavailable: when every tier fails.
        """
        name = object_name(namespace, key)
        for number, tier in enumerate(self._tiers):
            entry = await tier.open(*name)
            if entry is None:
                continue
            with owned(entry):
                outdated = tier is not self._authority and await self._validation.outdated(name, entry.info)
            if outdated or (self._debts.owed and self._debts.hides(entry.info)):
                tier.count("outdated")
                entry.close()
                continue
            tier.count("hit")
            if tier is not self._authority:
                entry = _read_on(entry, self._tiers[number + 1 :])
            return self._filling.entry(entry, self._tiers[:number]) if number else entry
        _unless_all_fail(self._tiers)
        return None

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object in the nearest tier that has the right one.

        :raise StorageUnavailable: when every tier fails.
        """
        name = object_name(namespace, key)
        for tier in self._tiers:
            info = await tier.stat(*name)
            if info is None or (self._debts.owed and self._debts.hides(info)):
                continue
            if tier is self._authority or not await self._validation.outdated(name, info):
                return info
        _unless_all_fail(self._tiers)
        return None

    @property
    def troubles(self) -> list[str]:
        """What is wrong with tiers, in words fit for everybody."""
        return [tier.trouble for tier in self._tiers if tier.trouble]

    async def probe(self) -> None:
        """Ask every tier something, so that trouble is noticed, and its end, though nobody reads or writes."""
        probes = [Deferred.fromCoroutine(tier.probe()) for tier in self._tiers]
        # Each is waited for; one that fails, or is cancelled with the whole, is told by raising here and nowhere else.
        for _, outcome in await DeferredList(probes, consumeErrors=True):
            if isinstance(outcome, Failure):
                outcome.raiseException()

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> Writer:
        """Begin an object in every tier that takes it.

        :raise TooLarge: when it is known that the last tier can't hold it.
        :raise StorageUnavailable: when no tier takes it.
        """
        name = object_name(namespace, key)
        if (etag := options.get("etag")) is not None:
            entity_tag(etag)
        writers: list[tuple[Tier, Writer | None]] = []
        reason = StorageUnavailable("no cache tier takes the object")
        for tier in self._tiers:
            try:
                writers.append((tier, await tier.ask(tier.cache.create(*name, **options))))
                if isinstance(tier.cache, Adopting):
                    options.pop("spool", None)
            except StorageUnavailable as error:
                reason = error
                writers.append((tier, None))
            except BaseException as failure:
                if isinstance(failure, TooLarge) and tier is not self._tiers[-1]:
                    continue
                await abort_all(writer for _, writer in writers if writer is not None)
                raise
        if all(writer is None for _, writer in writers):
            raise reason
        return TieredWriter(tiers=writers, committed=self._committed)

    async def _committed(self, info: ObjectInfo, in_last: bool) -> None:
        name = info.namespace, info.key
        self._validation.forget(name)
        await (self._debts.settle(name) if in_last else self._debts.add(info))

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object from every tier.

        :raise StorageUnavailable: when the last tier fails; nobody is given it any more, and its removal is owed.
        """
        name = object_name(namespace, key)
        await self._debts.renounce(name)
        nearer = await self.invalidate(*name)
        self._validation.forget(name)
        try:
            return await self._authority.ask(self._authority.cache.delete(*name)) or nearer
        except StorageUnavailable:
            await self._debts.add_removal(name, self._now())
            raise

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove the copies from all tiers but the last."""
        name = object_name(namespace, key)
        self._validation.forget(name)
        return any([await tier.invalidate(*name) for tier in self._tiers[:-1]])

    async def stats(self) -> Stats:
        """Count the objects of the last tier that answers."""
        return await _last_that_answers(self._tiers, lambda tier: tier.cache.stats())

    async def namespaces(self) -> list[str]:
        """Return the namespaces of the last tier that answers."""
        return await _last_that_answers(self._tiers, lambda tier: tier.cache.namespaces())

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> None:
        """Read all that tiers on disks have; what is damaged is removed. Object stores see to their disks themselves.

        :param pace: awaited after each piece with the bytes that were read.
        """
        for tier in self._tiers:
            if isinstance(tier.cache, Scrubbed):
                await tier.ask(tier.cache.scrub(pace))

    async def sweep(self) -> None:
        """Sweep every tier."""
        for tier in self._tiers:
            with suppress(StorageUnavailable):
                await tier.ask(tier.cache.sweep())


def _read_on(entry: Entry, farther: Sequence[Tier]) -> Entry:
    """Return an object that is read on from a farther tier when it turns out to be damaged."""
    info = entry.info

    async def open_farther() -> Entry | None:
        for tier in farther:
            other = await tier.open(info.namespace, info.key)
            if other is not None and info.digest and same(other.info, info):
                _log.info("reading {name} on from tier {tier}", name=f"{info.namespace}/{info.key}", tier=tier.name)
                return other
            if other is not None:
                other.close()
        return None

    return NearEntry(entry=entry, farther=open_farther)


def _unless_all_fail(tiers: Sequence[Tier]) -> None:
    if all(tier.resting for tier in tiers):
        raise StorageUnavailable("every cache tier fails")


async def _last_that_answers(tiers: Sequence[Tier], ask: Callable[[Tier], Coroutine[Any, Any, T]]) -> T:
    for tier in reversed(tiers):
        try:
            return await tier.ask(ask(tier))
        except StorageUnavailable:
            continue
    raise StorageUnavailable("every cache tier fails")
