"""LFS objects that are kept: downloaded once, verified, sent to everybody who may have them.

An object is kept per upstream host, not per content alone: whether a client may have it is the word of one upstream,
and an upstream that anybody can set up must not open what another has closed. Nothing that is not what its id says
ever leaves here as a whole: the end of a download is held back until all of it has been verified.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from cachew.cache.interface import Cache, Entry
from cachew.cache.storing import Storing
from cachew.plumbing.background import Background
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.errors import (
    CachewError,
    CorruptObject,
    StorageUnavailable,
    UpstreamError,
    UpstreamUnreachable,
)
from cachew.plumbing.followed import Followed
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.production import Received, Room, leaving
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import Source, owned
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.lfsbatch import WantedObject
from cachew.upstream.lfscontent import Verified

NAMESPACE = "lfs"
"""The namespace of the cache in which LFS objects lie."""
CONTENT_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class LfsOrder:
    """What is to be downloaded, and how.

    :param host: the upstream's host.
    :param wanted: the object.
    :param href: where it is.
    :param headers: what to show there.
    :param home: the repository's URL.
    """

    host: str
    wanted: WantedObject
    href: str
    headers: tuple[tuple[bytes, bytes], ...]
    home: str

    @property
    def key(self) -> str:
        """Its key in the cache."""
        return f"{self.host}/{self.wanted.oid}"


_Key = tuple[str, int]


class _Download(Received):
    """An object on its way to those who wait for it and into the cache.

    :param source: gives it.
    :param size: how many bytes it has.
    :param lost: called with what kept it from being stored, unless nobody waited for it any more.
    :param room: tells whether the disk still has room for more of it.
    """

    def __init__(
        self,
        *,
        source: "Verified",
        spool: Spool,
        storing: Storing,
        size: int,
        lost: Callable[[Exception], object],
        room: Room,
    ) -> None:
        super().__init__(source=source, spool=spool, room=room)
        self._storing = storing
        self._size = size
        self._lost = lost

    def worth_finishing(self) -> bool:
        """Say whether all of it is here."""
        return self.spool.size >= self._size

    async def received(self, piece: bytes) -> None:
        """Store a piece."""
        await self._storing.write(piece)

    async def whole(self) -> None:
        """Keep it."""
        await self._storing.commit()

    def broke_off(self, failure: Exception) -> None:
        """Say why it is not kept."""
        if not self.given_up:
            self._lost(failure)

    async def over(self) -> None:
        """Forget what was not kept."""
        await self._storing.abort()


class LfsObjects:
    """The objects.

    :param cache: where they are kept.
    :param client: the HTTP client.
    :param spools: a directory for what several clients follow while it comes.
    :param min_free: bytes that the spools leave free on their disk.
    :param background: where objects are received.
    :param metrics: counts where they came from.
    """

    log = Logger()

    def __init__(
        self,
        *,
        cache: Cache,
        client: UpstreamClient,
        spools: Path,
        min_free: int,
        background: Background,
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._client = client
        self._spools = spools
        self._min_free = min_free
        self._metrics = metrics
        self._downloads: Followed[_Key, _Download] = Followed(start=background.start)

    async def kept(self, order: LfsOrder) -> Entry | None:
        """Open an object that is kept; None when it isn't, or is not of the size that it should be."""
        try:
            entry = await self._cache.open(NAMESPACE, order.key)
        except (StorageUnavailable, CorruptObject) as error:
            self.log.warn("no cache tier answers for an LFS object: {error}", error=str(error))
            return None
        if entry is not None and entry.info.size != order.wanted.size:
            entry.close()
            return None
        if entry is not None:
            self._metrics.lfs_objects.labels("cache").inc()
        return entry

    def fits(self, order: LfsOrder) -> bool:
        """Say whether there is room for receiving an object; otherwise each client has to be sent it on its own."""
        return free_bytes(self._spools) >= self._min_free + order.wanted.size

    async def receive(self, order: LfsOrder) -> Source:
        """Return an object as the upstream sends it, for one client, and keep nothing.

        :raise UpstreamError: when it isn't to be had.
        """
        self._metrics.lfs_objects.labels("upstream").inc()
        response = await self._ask(order)
        return Verified(response.source, order.wanted, response.url)

    async def follow(self, order: LfsOrder, offset: int) -> Source:
        """Return an object from a byte on while it is received, for this client and all who ask meanwhile.

        :raise UpstreamError: when it isn't to be had.
        """
        key = order.key, order.wanted.size
        mine = False

        async def begin() -> _Download:
            nonlocal mine
            mine = True
            return await self._begin(order)

        while True:
            try:
                share = await self._downloads.follow(key, begin, offset)
            except UpstreamError:
                if mine:
                    raise
                # Another client's leave was not good enough, which says nothing about this one's.
            else:
                assert share is not None
                self._metrics.lfs_objects.labels("upstream" if mine else "shared").inc()
                return share.source

    async def _begin(self, order: LfsOrder) -> _Download:
        response = await self._ask(order)
        storing, spool = Storing(), Spool(path=self._spools / uuid.uuid4().hex)
        with owned(response.source):
            creating = self._cache.create(
                NAMESPACE, order.key, headers={"Content-Type": CONTENT_TYPE}, etag=order.wanted.oid,
                digest=order.wanted.oid, spool=spool.path,
            )  # fmt: skip
            await storing.begin(creating)
            return _Download(
                source=Verified(response.source, order.wanted, response.url),
                spool=spool,
                storing=storing,
                size=order.wanted.size,
                lost=lambda failure: self._log_failure(order.key, failure),
                room=leaving(self._spools, self._min_free),
            )

    async def _ask(self, order: LfsOrder) -> UpstreamResponse:
        response = await self._client.download(order.href, order.headers, home=order.home)
        if response.length not in (None, order.wanted.size):
            response.source.close()
            raise UpstreamUnreachable(response.url, f"has {response.length} bytes for {order.wanted}")
        return response

    def _log_failure(self, key: str, error: BaseException) -> None:
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, CachewError | OSError):
            raise error
        self.log.warn("LFS object {key} is not kept: {error}", key=key, error=str(error))
