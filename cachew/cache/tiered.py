"""Several caches as one: the nearest is asked first, the last one is right.

The last tier is the authority, usually storage that replicas share. A copy in a nearer tier is served as long as the
authority has the same object; when it has another one or none the copy is removed. Asking the authority takes a short
bounded while, then the copy is served and the answer is used when it comes. A tier that fails is as good as empty.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Unpack

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.cache.backfill import Copies, FarEntry, copy
from cachew.cache.debts import Debt, Debts
from cachew.cache.failover import NearEntry
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
    namespace_name,
    object_key,
)
from cachew.cache.presigned import PresignedAddresses
from cachew.cache.tieredwriter import TieredWriter, abort_all
from cachew.cache.tiers import Tier
from cachew.cache.validation import Name, Validation, same
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import StorageUnavailable, TooLarge
from cachew.plumbing.jobs import Slots
from cachew.plumbing.journal import Journal
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import owned

RETRY_AFTER = 5.0
"""Seconds for which a tier that has failed is left alone."""


class TieredCache:
    """A cache of several tiers that is one to its users: the nearest that has an object gives it.

    :param tiers: the nearest first; the last is the authority. One is enough.
    :param reactor: for waits and intervals.
    :param clock: what time it is.
    :param check_interval: seconds for which the authority's answer about an object holds.
    :param check_wait: seconds that a reader waits for that answer.
    :param retry_after: seconds for which a tier is left alone after a failure.
    :param background: where copies are made and answers are awaited that nobody waits for.
    :param names: what the log and the metrics call the tiers.
    :param metrics: where hits, misses and failures are counted.
    :param debts: where it is written down what the last tier could not take yet.
    """

    log = Logger()

    def __init__(
        self,
        *,
        tiers: Sequence[Cache],
        reactor: IReactorTime,
        clock: Clock,
        check_interval: float = 1.0,
        check_wait: float = 0.05,
        retry_after: float = RETRY_AFTER,
        background: Background | None = None,
        names: Sequence[str] = (),
        metrics: Metrics | None = None,
        debts: Journal[Debt] | None = None,
    ) -> None:
        if not tiers:
            raise ValueError("a tiered cache has at least one tier")
        names = names or [f"{number}-{type(cache).__name__}" for number, cache in enumerate(tiers, 1)]
        metrics = metrics or Metrics()
        self._tiers = [
            Tier(cache=cache, name=name, clock=clock, retry_after=retry_after, metrics=metrics)
            for cache, name in zip(tiers, names, strict=True)
        ]
        self.presigned = PresignedAddresses(tiers=self._tiers, reactor=reactor, rest=retry_after).of
        """Returns an address in storage that replicas share, at which clients can read an object themselves."""
        self._reactor = reactor
        self._clock = clock
        self._background = Background() if background is None else background
        self._filling: set[Name] = set()
        self._planned: set[Name] = set()
        self._slots = Slots(limit=2)
        self._debts = Debts(
            authority=self._authority,
            nearer=self._tiers[:-1],
            reactor=reactor,
            pause=retry_after,
            background=self._background,
            copy=self._copy,
            journal=debts,
        )
        self._validation = Validation(
            authority=self._authority,
            nearer=self._tiers[:-1],
            owed=self._debts.__contains__,
            reactor=reactor,
            interval=check_interval,
            wait=check_wait,
            background=self._background,
        )

    @property
    def _authority(self) -> Tier:
        return self._tiers[-1]

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
        name = namespace_name(namespace), object_key(key)
        for number, tier in enumerate(self._tiers):
            entry = await tier.open(*name)
            if entry is None:
                continue
            with owned(entry):
                outdated = tier is not self._authority and await self._validation.outdated(name, entry.info)
            if outdated:
                tier.count("outdated")
                entry.close()
                continue
            tier.count("hit")
            if tier is not self._authority:
                entry = self._near(entry, self._tiers[number + 1 :])
            return self._far(entry, self._tiers[:number]) if number else entry
        self._unless_all_fail()
        return None

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object in the nearest tier that has the right one.

        :raise StorageUnavailable: when every tier fails.
        """
        name = namespace_name(namespace), object_key(key)
        for tier in self._tiers:
            info = await tier.stat(*name)
            if info is not None and (tier is self._authority or not await self._validation.outdated(name, info)):
                return info
        self._unless_all_fail()
        return None

    def _unless_all_fail(self) -> None:
        if all(tier.resting for tier in self._tiers):
            raise StorageUnavailable("every cache tier fails")

    @property
    def tiers(self) -> list[Cache]:
        """The tiers, the nearest first."""
        return [tier.cache for tier in self._tiers]

    @property
    def troubles(self) -> list[str]:
        """What is wrong with tiers, in words fit for everybody."""
        return [tier.trouble for tier in self._tiers if tier.trouble]

    async def probe(self) -> None:
        """Ask every tier something, so that trouble is noticed, and its end, though nobody reads or writes."""
        probes = [Deferred.fromCoroutine(tier.probe()) for tier in self._tiers]
        await DeferredList(probes)

    def _near(self, entry: Entry, farther: Sequence[Tier]) -> Entry:
        info = entry.info

        async def open_farther() -> Entry | None:
            for tier in farther:
                other = await tier.open(info.namespace, info.key)
                if other is not None and info.digest and same(other.info, info):
                    name = f"{info.namespace}/{info.key}"
                    self.log.info("reading {name} on from tier {tier}", name=name, tier=tier.name)
                    return other
                if other is not None:
                    other.close()
            return None

        return NearEntry(entry=entry, farther=open_farther)

    # Copies from farther to nearer tiers

    def _far(self, entry: Entry, nearer: Sequence[Tier]) -> Entry:
        info = entry.info
        name = info.namespace, info.key

        async def begin(info: ObjectInfo) -> Copies:
            return await self._begin_copies(info, nearer)

        return FarEntry(
            entry=entry,
            wanted=lambda: name not in self._filling and name not in self._planned,
            begin=begin,
            fill=lambda: self._plan(name, nearer),
            background=self._background,
        )

    async def _begin_copies(self, info: ObjectInfo, nearer: Sequence[Tier]) -> Copies:
        name = info.namespace, info.key
        left = None if info.expires is None else info.expires - self._clock.now()
        copies = Copies(info=info, ended=lambda: self._filling.discard(name))
        if name not in self._filling and (left is None or left > 0):
            self._filling.add(name)
            try:
                await copies.begin(nearer, left)
            except BaseException:
                await copies.end()
                raise
            return copies
        return Copies(info=info, ended=lambda: None)

    def _plan(self, name: Name, nearer: Sequence[Tier]) -> None:
        self._planned.add(name)
        self._background.start(self._fill(name, nearer), f"copying {'/'.join(name)} into nearer cache tiers")

    async def _fill(self, name: Name, nearer: Sequence[Tier]) -> None:
        try:
            async with self._slots.take("/".join(name)):
                for tier in self._tiers[len(nearer) :]:
                    entry = None if name in self._filling else await tier.open(*name)
                    if entry is not None:
                        await self._copy(entry, nearer)
                        return
        finally:
            self._planned.discard(name)

    async def _copy(self, entry: Entry, nearer: Sequence[Tier]) -> None:
        with owned(entry):
            copies = await self._begin_copies(entry.info, nearer)
        await copy(entry, copies)

    # Writing

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> Writer:
        """Begin an object in every tier that takes it.

        :raise TooLarge: when it is known that the last tier can't hold it.
        :raise StorageUnavailable: when no tier takes it.
        """
        name = namespace_name(namespace), object_key(key)
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

    # The rest

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object from every tier.

        :raise StorageUnavailable: when the last tier fails; the nearer ones don't have it any more.
        """
        name = namespace_name(namespace), object_key(key)
        await self._debts.settle(name)
        removed = [await tier.invalidate(*name) for tier in self._tiers[:-1]]
        self._validation.forget(name)
        removed.append(await self._authority.ask(self._authority.cache.delete(*name)))
        return any(removed)

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove the copies from all tiers but the last."""
        name = namespace_name(namespace), object_key(key)
        self._validation.forget(name)
        removed = [await tier.invalidate(*name) for tier in self._tiers[:-1]]
        return any(removed)

    async def stats(self) -> Stats:
        """Count the objects of the last tier that answers."""
        for tier in reversed(self._tiers):
            try:
                return await tier.ask(tier.cache.stats())
            except StorageUnavailable:
                continue
        raise StorageUnavailable("every cache tier fails")

    async def namespaces(self) -> list[str]:
        """Return the namespaces of the last tier that answers."""
        for tier in reversed(self._tiers):
            try:
                return await tier.ask(tier.cache.namespaces())
            except StorageUnavailable:
                continue
        raise StorageUnavailable("every cache tier fails")

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
            try:
                await tier.ask(tier.cache.sweep())
            except StorageUnavailable:
                continue
