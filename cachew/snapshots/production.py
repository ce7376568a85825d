"""Making something once for everybody who asks for it meanwhile, and storing it.

A production writes to a spool, which any number of clients follow from the first byte, and to the cache, where it
appears when it is complete, unless another replica has stored one there meanwhile. It belongs to no client: all may
leave and it goes on. What fails leaves no trace.
"""

import os
import re
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.cache.interface import Cache
from cachew.cache.storing import Storing
from cachew.mirrors.instance import Instance
from cachew.plumbing.disk import disk_failure
from cachew.plumbing.errors import CachewError, Conflict, MirrorGone, NotFound, ProcessFailed
from cachew.plumbing.framewriter import Sink
from cachew.plumbing.jobs import Slots
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import Source
from cachew.plumbing.threads import InThread, made_in_thread
from cachew.snapshots.estimates import Estimates
from cachew.snapshots.mirror import Mirror
from cachew.snapshots.packed import unlink_objects
from cachew.snapshots.variants import NAMESPACE

Begin = Callable[[Mapping[str, str]], Awaitable[Sink]]
"""Announces the headers of what is made, and gives where its bytes go."""

Make = Callable[[Path, Begin], Coroutine[Any, Any, None]]
"""Makes one thing: in an empty directory of its own; it begins once it can say what it makes."""


_REMEMBERED = 100
_INSTANCE = re.compile(" [0-9a-f]{32}(?![0-9a-f])")

T = TypeVar("T")

ReadyMirrorOf = Callable[[], Awaitable[Mirror]]
"""Gives the mirror that something is made of."""


@dataclass(frozen=True)
class Order:
    """What is to be made.

    :param key: in the cache.
    :param owner: whose turn it counts as: the repository's name.
    :param make: makes it.
    :param kind: which of the owner's things it is like, as to how long it takes.
    :param requires: awaited before it takes a place among what is being made.
    :param mirror: gives what it is made of, which is verified before and must not have changed by the end.
    :param ttl: seconds that it may be kept; None for as long as the cache keeps things.
    """

    key: str
    owner: str
    make: Make
    kind: str = ""
    requires: Callable[[], Awaitable[object]] | None = None
    ttl: float | None = None
    mirror: ReadyMirrorOf | None = None

    @property
    def title(self) -> str:
        """What logs and clients are told that it is: its key without the id of the instance."""
        return _INSTANCE.sub("", self.key)


class Production:
    """One thing that is being made.

    :param spool: where its bytes are.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.headers: Mapping[str, str] = {}
        self.mirror_gone = False
        """Whether the mirror went that it was being made of: another production may find it again, or a new one."""
        self.withdrawn = False
        """Whether it is for nobody any more but those who follow it already."""
        self._result: Failure | None = None
        self._has_begun = self._has_ended = False
        self._begun: list[Deferred[None]] = []
        self._ended: list[Deferred[None]] = []

    @property
    def followed(self) -> bool:
        """Whether anybody is taking its bytes."""
        return self._spool.followers > 0

    async def begun(self) -> None:
        """Wait until :attr:`headers` are known.

        :raise Exception: what kept it from beginning.
        """
        if not (self._has_begun or self._has_ended):
            await _wait_in(self._begun)
        if not self._has_begun and self._result is not None:
            self._result.raiseException()

    async def ended(self) -> None:
        """Wait until it is made and stored.

        :raise Exception: what it failed with.
        """
        await self.settled()
        if self._result is not None:
            self._result.raiseException()

    async def settled(self) -> None:
        """Wait until it has ended, well or badly."""
        if not self._has_ended:
            await _wait_in(self._ended)

    def follow(self) -> Source:
        """Return all its bytes, from the first to the last one yet to come.

        :raise Exception: what it has failed with.
        :raise SpoolFailed: when it has ended well and is in the cache.
        """
        if self._result is not None:
            self._result.raiseException()
        return self._spool.follow()

    def begin(self, headers: Mapping[str, str]) -> None:
        """Note what it will be."""
        self.headers = headers
        self._has_begun = True
        _wake(self._begun)

    def end(self, result: Failure | None) -> None:
        """Note how it ended."""
        self._result, self._has_ended = result, True
        _wake(self._begun)
        _wake(self._ended)


async def with_its_mirror(produce: Callable[[], Production], wait: Callable[[Production], Awaitable[T]]) -> T:
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


async def _wait_in(queue: list[Deferred[None]]) -> None:
    waiter: Deferred[None] = Deferred(queue.remove)
    queue.append(waiter)
    await waiter


def _wake(queue: list[Deferred[None]]) -> None:
    waiting, queue[:] = list(queue), []
    for waiter in waiting:
        waiter.callback(None)


class Productions:
    """Everything that is being made.

    :param cache: where it is stored.
    :param scratch: a directory for work in progress, on the mirrors' file system.
    :param slots: bounds how much is made at once.
    :param clock: dates it, and ends what takes longer than ``timeout`` seconds.
    :param threads: for work on files.
    :param estimates: says what will be long, and is told how long it was.
    """

    log = Logger()

    def __init__(
        self,
        *,
        cache: Cache,
        scratch: Path,
        slots: Slots,
        clock: IReactorTime,
        threads: InThread,
        timeout: float = 3600.0,
        estimates: Estimates | None = None,
    ) -> None:
        self._estimates = estimates or Estimates()
        self._cache = cache
        self._scratch = scratch
        self._slots = slots
        self._clock = clock
        self._threads = threads
        self._timeout = timeout
        self._numbers = count(1)
        self._running: dict[str, Production] = {}
        self._work: dict[str, Deferred[None]] = {}
        self._left: set[Path] = set()
        self._stored: dict[str, OrderedDict[str, float]] = {}

    async def start(self) -> None:
        """Remove what a killed server left behind."""
        await self._threads(_empty_directory, self._scratch)

    async def stop(self) -> None:
        """Break off whatever is being made, and wait until it is cleaned up."""
        for work in list(self._work.values()):
            work.cancel()
        await self.settled()

    async def settled(self) -> None:
        """Wait until whatever is being made has ended, well or badly."""
        for production in list(self._running.values()):
            await production.settled()

    def running(self, key: str) -> Production | None:
        """Return what is being made under a key."""
        return self._running.get(key)

    def give_up(self, key: str) -> None:
        """Break off what is being made under a key, unless a client is waiting for it."""
        production, work = self._running.get(key), self._work.get(key)
        if production is not None and work is not None and not production.followed:
            work.cancel()

    def run(self, order: Order) -> Production:
        """Join what is being made under the order's key, or begin to make it."""
        if (running := self._running.get(order.key)) is not None:
            return running
        spool = Spool(path=self._scratch / f"spool-{next(self._numbers)}")
        production = self._running[order.key] = Production(spool)
        work = Deferred.fromCoroutine(self._made(order, production, spool))
        self._work[order.key] = work
        work.addTimeout(self._timeout, self._clock)
        work.addBoth(self._over, order, production, spool)
        return production

    def _over(self, result: Failure | None, order: Order, production: Production, spool: Spool) -> None:
        failure = result if isinstance(result, Failure) else None
        if failure is not None:
            spool.fail(failure.value if isinstance(failure.value, Exception) else Exception(str(failure.value)))
            self._log_failure(failure, order)
        # Whatever the disk says: what has ended leaves the table and is told to those who wait.
        self._running.pop(order.key, None)
        self._work.pop(order.key, None)
        try:
            spool.discard()
        except OSError as error:
            self.log.error("can't remove {path}: {error}", path=str(spool.path), error=str(error))
            self._left.add(spool.path)
        finally:
            production.end(failure)

    def _log_failure(self, failure: Failure, order: Order) -> None:
        if failure.check(NotFound):
            self.log.debug("{key} is not made: {reason}", key=order.title, reason=failure.getErrorMessage())
        elif failure.check(CachewError, TimedOut, OSError):
            self.log.error("making {key} failed: {reason}", key=order.title, reason=failure.getErrorMessage())
        elif not failure.check(CancelledError):
            self.log.failure("making {key} failed", failure=failure, key=order.title)

    async def _made(self, order: Order, production: Production, spool: Spool) -> None:
        """Make something.

        :raise StorageUnavailable: when the disk keeps it from being made.
        """
        try:
            await self._produce(order, production, spool)
        except MirrorGone:
            production.mirror_gone = True
            raise
        except (OSError, ProcessFailed) as error:
            failure = disk_failure(error, f"{order.title} can't be made")
            if failure is None:
                raise
            raise failure from error

    async def _produce(self, order: Order, production: Production, spool: Spool) -> None:
        if order.requires is not None:
            await order.requires()
        async with self._slots.take(order.owner, long=self._estimates.is_long(order.owner, order.kind)):
            started = self._clock.seconds()
            mirror = await order.mirror() if order.mirror is not None else None
            try:
                stored = await self._make_of(mirror, order, production, spool)
            except Exception as error:
                production.mirror_gone = mirror is not None and not mirror.ready
                if isinstance(error, NotFound) and not production.mirror_gone:
                    # That there is nothing to make will be found out as soon next time.
                    self._estimates.took(order.owner, order.kind, self._clock.seconds() - started)
                raise
            self._note(order, started)
            seconds = self._clock.seconds() - started
            self._estimates.took(order.owner, order.kind, seconds)
            what = "made {key}, {size} bytes in {seconds:.1f}s"
            if production.withdrawn:
                what = "{key} was sent to those who followed it, and is not kept"
            elif not stored:
                what = "{key} was stored by another replica while it was made here"
            self.log.info(what, key=order.title, size=spool.size, seconds=seconds)

    async def _make_of(self, mirror: Mirror | None, order: Order, production: Production, spool: Spool) -> bool:
        sound = await mirror.prove() if mirror is not None else None
        directory = await made_in_thread(
            self._threads, lambda: _make_directory(self._scratch, self._left), give_up=_remove_directory
        )
        try:
            return await self._make(order, production, spool, directory, sound or _nothing)
        except ProcessFailed:
            if mirror is not None:
                mirror.suspect()
            raise
        finally:
            try:
                await self._threads(_remove_links, directory, mirror)
            finally:
                if directory.exists():
                    self._left.add(directory)

    def _note(self, order: Order, started: float) -> None:
        """Remember what was made of which mirror, and when that was begun."""
        made = self._stored.setdefault(order.owner, OrderedDict())
        made[order.key] = started
        made.move_to_end(order.key)
        if len(made) > _REMEMBERED:
            made.popitem(last=False)

    async def withdraw(self, owner: str, since: float) -> None:
        """Remove from the cache what was made of a repository since a moment, because it may be damaged.

        :param since: seconds since the epoch.
        """
        made = self._stored.pop(owner, OrderedDict())
        for key in [key for key, started in made.items() if started >= since]:
            self.log.warn("withdrawing {key}, which may be damaged", key=_INSTANCE.sub("", key))
            await self._cache.delete(NAMESPACE, key)

    async def withdraw_of(self, instance: Instance) -> None:
        """Remove from the cache what was made of an instance that has ended, and break off what is being made of it.

        :raise StorageUnavailable: when the cache fails.
        """
        of_it = f":{instance.name}"
        for key, production in [(key, one) for key, one in self._running.items() if of_it in key]:
            production.withdrawn = True
            self.give_up(key)
        made = self._stored.get(instance.identity.name, OrderedDict())
        for key in [key for key in made if of_it in key]:
            del made[key]
            await self._cache.delete(NAMESPACE, key)

    async def _make(
        self, order: Order, production: Production, spool: Spool, directory: Path, sound: Callable[[], None]
    ) -> bool:
        """Make and store something; False when another replica has stored it meanwhile."""
        storing = Storing()

        async def begin(headers: Mapping[str, str]) -> Sink:
            now = self._clock.seconds()
            creating = self._cache.create(
                NAMESPACE, order.key, headers=headers, ttl=order.ttl, modified=now, unless_replaced=True
            )
            await storing.begin(creating)
            production.begin({**headers, "Last-Modified": formatdate(int(now), usegmt=True)})

            async def write(data: bytes) -> None:
                spool.write(data)
                await storing.write(data)

            return write

        try:
            await order.make(directory, begin)
            sound()
            spool.finish()
            if production.withdrawn:
                return False
            try:
                await storing.commit()
            except Conflict:
                return False
            if production.withdrawn:
                await self._cache.delete(NAMESPACE, order.key)
            return True
        finally:
            await storing.abort()


def _nothing() -> None:
    """Find no fault with what nothing is known of."""


def _remove_links(directory: Path, mirror: Mirror | None) -> None:
    if mirror is not None:
        with mirror.relinking():
            unlink_objects(directory)
    _remove_directory(directory)


def _make_directory(scratch: Path, left: set[Path]) -> Path:
    """Make a directory to work in, and remove what the disk did not let go before.

    :param left: that; what is gone is taken out.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    for path in list(left):
        _remove(path)
        if not os.path.lexists(path):
            left.discard(path)
    return Path(tempfile.mkdtemp(prefix="work-", dir=scratch))


def _remove_directory(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a file or a directory, if the disk lets it go."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _empty_directory(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
