"""Answers of upload-pack, computed once.

The first client's answer is spooled to disk while it is produced, equal requests that come meanwhile follow the spool,
and later ones are sent from the file: eight equal clones take 1.3 s from the file, and 7.6 s from upload-pack. Keys
are those of :func:`cachew.smarthttp.clientcommands.pack_key`, so they contain the repository's identity. Only whole
packs are kept (:mod:`cachew.smarthttp.packcheck`); everything else is shared while it is under way. Small ones lie
together in a database (:mod:`cachew.smarthttp.smallpacks`).

An answer can be made before anybody asks (:meth:`PackCache.prepare`). Such work has time: who asks for the same while
nothing of it is there yet doesn't wait for it, but has it given up and produced for him.
"""

import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.clock import Clock
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.followed import Followed, Share
from cachew.plumbing.shared import Shared
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, FileSource, Source, owned
from cachew.plumbing.threads import InThread
from cachew.smarthttp import packfiles
from cachew.smarthttp.clientcommands import owner_key
from cachew.smarthttp.packfiles import Damaged, Stamp
from cachew.smarthttp.packproduction import PackProduction
from cachew.smarthttp.smallpacks import LARGEST, SmallPacks

T = TypeVar("T")
Origin = Literal["file", "followed", "produced", "direct"]
_AT_ONCE = 64 * 1024 * 1024
"""Bytes of what is made ahead that are looked at in one turn; none of them is read."""


@dataclass(frozen=True)
class Response:
    """An answer to send.

    :param source: its bytes; a :class:`FileSource` when it comes from a file.
    :param origin: ``file``, ``followed`` (another client's production), ``produced`` (for this client), or ``direct``
        (not shared, for want of space).
    """

    source: Source
    origin: Origin


@dataclass
class _KeptPack:
    size: int
    stamp: Stamp | None
    """None until the file has been verified after a restart."""


class PackCache:
    """Keeps answers below a directory of its own.

    What is under way comes on top of ``limit`` until it ends; an answer larger than ``limit`` is not kept.

    :param directory: where; nothing else may live there.
    :param limit: bytes that kept answers may take; None for no bound, 0 keeps and shares nothing.
    :param min_free: bytes that the file system must have left before anything is spooled.
    :param threads: runs blocking work.
    :param clock: what time it is.
    :param small: keeps small answers, of whose bytes ``limit`` is the bound, too; None where all are files.
    :param free_space: bytes left on a directory's file system.
    :param on_damage: called when a kept answer turned out to be damaged.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        directory: Path,
        limit: int | None,
        min_free: int,
        threads: InThread,
        clock: Clock,
        small: SmallPacks | None = None,
        free_space: Callable[[Path], int] = free_bytes,
        on_damage: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_damage = on_damage
        self._directory = directory
        self._limit = limit
        self._min_free = min_free
        self._threads = threads
        self._clock = clock
        self._small = small
        self._free_space = free_space
        self._kept: OrderedDict[str, _KeptPack] = OrderedDict()
        self._answers: Followed[str, PackProduction] = Followed()
        self._ahead: Followed[str, PackProduction] = Followed()
        self._preparing: dict[str, Deferred[bool]] = {}
        self._checked: Shared[str, None] = Shared()
        self._numbers = count(1)
        self._files_size = 0

    def __len__(self) -> int:
        return len(self._kept) + (self._small.count if self._small else 0)

    @property
    def size(self) -> int:
        """Bytes that kept answers take."""
        return self._files_size + (self._small.size if self._small else 0)

    @property
    def limit(self) -> int:
        """Bytes that kept answers may take, 0 for no bound."""
        return self._limit or 0

    @property
    def producing(self) -> int:
        """How many answers are under way."""
        return self._answers.running + self._ahead.running

    async def open(self) -> None:
        """Take stock of what an earlier run has kept; it is verified when it is first asked for."""
        for found in await self._threads(packfiles.scan, self._directory):
            self._add(found.key, found.size, None)
        if self._small is not None:
            await self._threads(self._small.open)
        await self._shrink(self._limit)

    async def stop(self) -> None:
        """Give up what is under way and wait for its end."""
        for preparing in list(self._preparing.values()):
            preparing.cancel()
        await self._ahead.stop()
        await self._answers.stop()
        if self._small is not None:
            await self._threads(self._small.close)

    async def response(
        self, key: str, produce: Callable[[], Coroutine[Any, Any, Source]], *, doubted: bool = False
    ) -> Response:
        """Return the answer for a key, from wherever it is to be had most cheaply.

        :param produce: makes the answer; called at most once for all who ask at the same time. What it raises (that the
            mirror refused, for one) is raised here for each of them.
        :param doubted: whether what it makes has come over a network, so that it may have an end and be wrong all the
            same; it is kept only if the pack is what its checksum says.
        """
        if (under_way := self._answers.join(key) or self._made_ahead(key)) is not None:
            return Response(under_way.source, "followed")
        # One that is over is still known while room is made for it; by then it is kept.
        if (kept := await self.get(key)) is not None:
            return Response(kept, "file")
        share = await self._answers.follow(key, lambda: self._begin(key, produce, doubted=doubted))
        if share is None:
            return Response(await produce(), "direct")
        return Response(share.source, "produced" if share.began else "followed")

    def prepare(self, key: str, produce: Callable[[], Coroutine[Any, Any, Source]]) -> Deferred[bool]:
        """Make an answer that nobody has asked for yet.

        :param produce: makes the answer; not called when it is there or under way.
        :return: fires when that is over, with whether it is there; False when somebody who asked produces it himself,
            and when this is cancelled.
        """
        if self.has(key) or key in self._answers or key in self._preparing:
            return succeed(True)
        preparing = self._preparing[key] = Deferred.fromCoroutine(self._make_ahead(key, produce))
        preparing.addBoth(self._prepared, key)
        return preparing

    def has(self, key: str) -> bool:
        """Say whether an answer is kept in a file of its own."""
        return key in self._kept

    async def size_of(self, repository: str) -> int:
        """Return the bytes that the kept answers of a repository take."""
        owner = owner_key(repository)
        small = await self._threads(self._small.size_of, owner) if self._small is not None else 0
        return small + sum(kept.size for key, kept in self._kept.items() if key.startswith(owner))

    async def _make_ahead(self, key: str, produce: Callable[[], Coroutine[Any, Any, Source]]) -> bool:
        if self._small is not None and await self._threads(self._small.has, key):
            return True
        share = await self._ahead.follow(key, lambda: self._begin(key, produce))
        if share is None:
            return False
        try:
            while await share.source.region(_AT_ONCE):
                pass
            return True
        finally:
            share.source.close()

    def _prepared(self, result: bool | Failure, key: str) -> bool | Failure:
        del self._preparing[key]
        return False if isinstance(result, Failure) and result.check(CancelledError) else result

    def _made_ahead(self, key: str) -> Share[PackProduction] | None:
        """Follow an answer that is being made ahead, or give it up, if nothing of it is there yet."""
        if (preparing := self._preparing.get(key)) is None:
            return None
        share = self._ahead.join(key)
        if share is not None and share.production.spool.size:
            return share
        if share is not None:
            share.source.close()
        preparing.cancel()
        return None

    async def get(self, key: str) -> FileSource | BytesSource | None:
        """Return a kept answer, or None.

        After a restart its content is verified first; what is damaged is removed and never served.
        """
        kept = self._kept.get(key)
        if kept is None:
            return await self._get_small(key)
        try:
            if kept.stamp is None:
                await self._checked.run(key, lambda: self._verify(key, kept))
            if kept.stamp is None or self._kept.get(key) is not kept:
                return None
            file, kept.stamp = packfiles.open_kept(self._path(key), kept.stamp, now=self._clock.now())
        except (OSError, Damaged) as failure:
            if isinstance(failure, OSError) and failure.errno in EXHAUSTED:
                raise  # which says nothing about the file
            await self._drop_damaged(key, failure)
            return None
        self._kept.move_to_end(key)
        return FileSource(file, 0, kept.stamp.size)

    async def get_file(self, key: str) -> FileSource | None:
        """Return a kept answer as :meth:`get` does, in a file, which a small one is written to for the purpose."""
        kept = await self.get(key)
        return FileSource(_in_memory(await kept.read(kept.length))) if isinstance(kept, BytesSource) else kept

    async def _get_small(self, key: str) -> BytesSource | None:
        if self._small is None or not self._small.count:
            return None
        answer = await self._threads(self._small.get, key, self._clock.now())
        return None if answer is None else BytesSource(answer)

    async def _drop_damaged(self, key: str, failure: Exception) -> None:
        self._log.warn("dropped kept pack {key}: {failure}", key=key, failure=failure)
        if isinstance(failure, Damaged):
            self._on_damage()
        await self._drop([key])

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> None:
        """Read every kept answer through, one after the other; what is damaged is dropped.

        :param pace: awaited after each with the bytes that were read.
        """
        for key, kept in list(self._kept.items()):
            if self._kept.get(key) is not kept:
                continue
            try:
                await self._checked.run(key, lambda key=key, kept=kept: self._verify(key, kept))  # type: ignore[misc]
            except (OSError, Damaged) as failure:
                if self._kept.get(key) is kept and not (isinstance(failure, OSError) and failure.errno in EXHAUSTED):
                    await self._drop_damaged(key, failure)
            await pace(kept.size)
        if self._small is not None:
            await self._scrub_small(self._small, pace)

    async def _scrub_small(self, small: SmallPacks, pace: Callable[[int], Awaitable[object]]) -> None:
        after = 0
        while (checked := await self._threads(small.check, after)) is not None:
            after, size = checked
            await pace(size)

    async def _verify(self, key: str, kept: _KeptPack) -> None:
        kept.stamp = await self._threads(packfiles.verify, self._path(key), key=key)

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}{packfiles.SUFFIX}"

    def _add(self, key: str, size: int, stamp: Stamp | None) -> None:
        previous = self._kept.pop(key, None)
        self._files_size += size - (previous.size if previous else 0)
        self._kept[key] = _KeptPack(size, stamp)

    async def _begin(
        self, key: str, produce: Callable[[], Coroutine[Any, Any, Source]], *, doubted: bool = False
    ) -> PackProduction | None:
        """Begin the production for a key, unless there is no space for it."""
        if not await self._make_room():
            return None
        path = self._directory / f"{key}.{next(self._numbers)}.part"
        source = await produce()
        with owned(source):
            return PackProduction(
                source=source,
                path=path,
                keep=lambda spool: self._keep(key, spool, doubted=doubted),
                lost=lambda failure: self._lost(key, failure),
            )

    def _lost(self, key: str, failure: Exception) -> None:
        """Say why an answer that its clients have isn't kept; what a machine lacks for a while is no fault of ours."""
        if isinstance(failure, OSError):
            self._log.warn("could not keep pack {key}: {error}", key=key, error=str(failure))
        else:
            self._log.failure("could not keep pack {key}", Failure(failure), key=key)

    async def _keep(self, key: str, spool: Spool, *, doubted: bool) -> None:
        """Keep what has been spooled, if it is a whole pack."""
        if self._limit is not None and spool.size > self._limit:
            return
        if spool.size <= LARGEST and await self._kept_small(key, spool, doubted=doubted):
            return
        stamp = await self._threads(packfiles.seal, spool.path, key=key, size=spool.size, doubted=doubted)
        if stamp is not None:
            spool.keep(self._path(key))
            self._add(key, stamp.whole, packfiles.renamed(self._path(key), stamp))
            await self._shrink(self._limit)

    async def _kept_small(self, key: str, spool: Spool, *, doubted: bool) -> bool:
        if self._small is None:
            return False
        if not await self._threads(self._small.keep, key, spool.path, self._clock.now(), doubted=doubted):
            return False
        await self._shrink(self._limit)
        return True

    async def _make_room(self) -> bool:
        """Drop the least recently used until the file system has its floor; say whether it has."""
        if self._limit is not None and self._limit <= 0:
            return False
        free: int = await self._threads(self._free_space, self._directory)
        if free < self._min_free <= free + self.size:
            before = self.size
            await self._shrink(max(self.size - (self._min_free - free), 0))
            free += before - self.size
        return free >= self._min_free

    async def _shrink(self, size: int | None) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes, None for no bound."""
        if size is None:
            return
        victims, left = [], self.size
        for key, kept in self._kept.items():
            if left <= size:
                break
            victims.append(key)
            left -= kept.size
        await self._drop(victims)
        if self._small is not None and left > size:
            await self._threads(self._small.shrink, self._small.size - (left - size))

    async def _drop(self, keys: list[str]) -> None:
        gone = [key for key in keys if key in self._kept]
        for key in gone:
            self._files_size -= self._kept.pop(key).size
        await self._threads(packfiles.remove, [self._path(key) for key in gone])


def _in_memory(data: bytes) -> BinaryIO:
    """Return a file that lies in memory."""
    file = os.fdopen(os.memfd_create("answer"), "w+b", buffering=0)
    file.write(data)
    return file
