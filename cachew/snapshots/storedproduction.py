"""Making something once for everybody who asks for it meanwhile, and storing it.

A production writes to a spool, which any number of clients follow from the first byte, and to the cache, where it
appears when it is complete, unless another replica has stored one there meanwhile. It belongs to no client: all may
leave and it goes on. What fails leaves no trace.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.cache.interface import Cache
from cachew.cache.storing import Storing
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.clock import Clock
from cachew.plumbing.diskspace import disk_failure
from cachew.plumbing.errors import CachewError, Conflict, MirrorGone, NotFound, ProcessFailed
from cachew.plumbing.framewriter import Sink
from cachew.plumbing.jobs import Slots
from cachew.plumbing.production import Production
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import FiledSource
from cachew.plumbing.waiters import Waiters
from cachew.snapshots.estimates import Estimates
from cachew.snapshots.order import Order
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.storedkeys import StoredKeys
from cachew.snapshots.variants import NAMESPACE

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Means:
    """What everything is made with.

    :param cache: where it is stored.
    :param scratch: for work in progress.
    :param slots: bounds how much is made at once.
    :param reactor: ends what takes longer than ``timeout`` seconds.
    :param clock: dates it.
    :param estimates: says what will be long, and is told how long it was.
    :param stored: is told what was stored.
    """

    cache: Cache
    scratch: Scratch
    slots: Slots
    reactor: IReactorTime
    clock: Clock
    timeout: float = 3600.0
    estimates: Estimates = field(default_factory=Estimates)
    stored: StoredKeys = field(default_factory=StoredKeys)


class StoredProduction(Production):
    """One thing that is being made.

    :param order: what.
    :param means: what it is made with.
    :param log: is told how it went.
    """

    def __init__(self, *, order: Order, means: Means, log: Logger) -> None:
        super().__init__(spool=Spool(path=means.scratch.spool()))
        self._order = order
        self._means = means
        self._log = log
        self.headers: Mapping[str, str] = {}
        self.mirror_gone = False
        """Whether the mirror went that it was being made of: another production may find it again, or a new one."""
        self.withdrawn = False
        """Whether it is for nobody any more but those who follow it already."""
        self._work: Deferred[None] | None = None
        self._result: Failure | None = None
        self._has_begun = False
        self._beginning = Waiters()

    async def begun(self) -> None:
        """Wait until :attr:`headers` are known.

        :raise Exception: what kept it from beginning.
        """
        if not (self._has_begun or self.has_settled):
            await self._beginning.wait()
        if not self._has_begun and self._result is not None:
            self._result.raiseException()

    async def ended(self) -> None:
        """Wait until it is made and stored.

        :raise Exception: what it failed with.
        """
        await self.settled()
        if self._result is not None:
            self._result.raiseException()

    def follow(self, offset: int = 0) -> FiledSource:
        """Return all its bytes, from the first to the last one yet to come.

        :raise Exception: what it has failed with.
        :raise SpoolFailed: when it has ended well and is in the cache.
        """
        if self.has_settled and self._result is not None:
            self._result.raiseException()
        return super().follow(offset)

    def worth_finishing(self) -> bool:
        """Say that it is for the cache, too."""
        return True

    def close(self) -> None:
        """Break the making off."""
        if self._work is not None:
            self._work.cancel()

    def settle(self) -> None:
        """Tell those who wait for its beginning or its end."""
        self._beginning.wake()
        super().settle()

    def broke_off(self, failure: Exception) -> None:
        """Say why, unless it was broken off on purpose."""
        self._result = result = Failure(failure)
        if result.check(NotFound):
            self._log.debug("{key} is not made: {reason}", key=self._order.title, reason=result.getErrorMessage())
        elif result.check(CachewError, TimedOut, OSError):
            self._log.error("making {key} failed: {reason}", key=self._order.title, reason=result.getErrorMessage())
        elif not result.check(CancelledError):
            self._log.failure("making {key} failed", failure=result, key=self._order.title)

    async def fill(self) -> None:
        """Make and store it.

        :raise StorageUnavailable: when the disk keeps it from being made.
        """
        work = self._work = Deferred.fromCoroutine(self._produce())
        work.addTimeout(self._means.timeout, self._means.reactor)
        if self.given_up:
            work.cancel()
        try:
            await work
        except MirrorGone:
            self.mirror_gone = True
            raise
        except (OSError, ProcessFailed) as error:
            failure = disk_failure(error, f"{self._order.title} can't be made")
            if failure is None:
                raise
            raise failure from error

    async def _produce(self) -> None:
        order, means = self._order, self._means
        if order.requires is not None:
            await order.requires()
        async with means.slots.take(order.owner, long=means.estimates.is_long(order.owner, order.kind)):
            started = means.clock.seconds()
            mirror = await order.mirror() if order.mirror is not None else None
            try:
                stored = await self._make_of(mirror)
            except Exception as error:
                self.mirror_gone = mirror is not None and not mirror.ready
                if isinstance(error, NotFound) and not self.mirror_gone:
                    # That there is nothing to make will be found out as soon next time.
                    means.estimates.took(order.owner, order.kind, means.clock.seconds() - started)
                raise
            means.stored.note(order.owner, order.key, started)
            seconds = means.clock.seconds() - started
            means.estimates.took(order.owner, order.kind, seconds)
            what = "made {key}, {size} bytes in {seconds:.1f}s"
            if self.withdrawn:
                what = "{key} was sent to those who followed it, and is not kept"
            elif not stored:
                what = "{key} was stored by another replica while it was made here"
            self._log.info(what, key=order.title, size=self.spool.size, seconds=seconds)

    async def _make_of(self, mirror: Mirror | None) -> bool:
        sound = await mirror.verification.prove() if mirror is not None else None
        async with self._means.scratch.directory(mirror) as directory:
            try:
                return await self._make(directory, sound or _nothing)
            except ProcessFailed:
                if mirror is not None:
                    mirror.verification.doubt(serving=True)
                raise

    async def _make(self, directory: Path, sound: Callable[[], None]) -> bool:
        """Make and store something; False when another replica has stored it meanwhile."""
        storing = Storing()

        async def begin(headers: Mapping[str, str]) -> Sink:
            return await self._begin(storing, headers)

        try:
            await self._order.make(directory, begin)
            sound()
            self.spool.finish()
            return await self._keep(storing)
        finally:
            await storing.abort()

    async def _begin(self, storing: Storing, headers: Mapping[str, str]) -> Sink:
        now, order = self._means.clock.now(), self._order
        creating = self._means.cache.create(
            NAMESPACE,
            order.key,
            headers=headers,
            ttl=order.ttl,
            modified=now,
            unless_replaced=True,
            spool=self.spool.path,
        )
        await storing.begin(creating)
        self.headers = {**headers, "Last-Modified": formatdate(int(now), usegmt=True)}
        self._has_begun = True
        self._beginning.wake()

        async def write(data: bytes) -> None:
            self.spool.write(data)
            await storing.write(data)

        return write

    async def _keep(self, storing: Storing) -> bool:
        if self.withdrawn:
            return False
        try:
            await storing.commit()
        except Conflict:
            return False
        if self.withdrawn:
            await self._means.cache.delete(NAMESPACE, self._order.key)
        return True


def _nothing() -> None:
    """Find no fault with what nothing is known of."""


async def with_its_mirror(
    produce: Callable[[], StoredProduction], wait: Callable[[StoredProduction], Awaitable[T]]
) -> T:
    """Wait for something that is made of a mirror; when that goes meanwhile, for one that is made from the start.

    What the schedule makes is made of a mirror that is there or not at all, and a mirror that is used least may be
    forgotten at any moment. Whoever joins it waits for a mirror that is made for him instead.

    :param produce: begins to make it, or joins.
    :param wait: waits for what is wanted of it.
    :raise Exception: what it failed with.
    """
    production = produce()
    try:
        return await wait(production)
    except (CachewError, OSError):
        if not production.mirror_gone:
            raise
    return await wait(produce())
