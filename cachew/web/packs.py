"""Packs on their way to clients: out of the pack cache, from the mirror's upload-pack, or from the upstream.

Whoever produces a pack, equal requests follow the same production, and a whole pack is kept for the next. A producer
that refuses does so before the first byte has left, so that another can be asked. Packs of whole repositories are
counted.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.logger import Logger

from cachew.http.bodies import send
from cachew.http.incoming import Body
from cachew.http.requests import SHORT, StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import SpoolFailed, UpstreamBusy, UpstreamRefused
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource, FileSource, Source, owned, read_all
from cachew.replicas.tally import Tally
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.smarthttp.packcache import PackCache, Response
from cachew.smarthttp.wantedrefs import WithWantedRefs
from cachew.snapshots.variants import FILTERS, Variant
from cachew.web.access.guard import Right
from cachew.web.upstreampacks import RESULT, UpstreamPacks

Produce = Callable[[], Coroutine[Any, Any, Source]]


class Packs:
    """Sends packs.

    :param cache: keeps and shares them.
    :param mirrored: has mirrors answer.
    :param upstream: has upstreams answer.
    :param metrics: counts where packs came from.
    """

    log = Logger()

    def __init__(
        self,
        *,
        cache: PackCache,
        mirrored: MirrorPacks,
        upstream: UpstreamPacks,
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._mirrored = mirrored
        self._upstream = upstream
        self._metrics = metrics

    async def serve(
        self, request: StreamingRequest, mirror: Mirror, command: Fetch, body: Body, wanted: bytes = b""
    ) -> None:
        """Answer a fetch whose wants the mirror has.

        :param body: the request's, of which the command was read.
        :param wanted: what the answer says of refs before its pack.
        :raise MirrorRefused: when upload-pack says no, before anything was sent.
        :raise ProcessFailed: when it fails.
        """
        protocol = request.getHeader("git-protocol")
        self._mirrored.asked(mirror, command, body, protocol)
        key = self._mirrored.key(mirror, command)
        await self._send_shared(
            request, key, lambda: self._mirrored.produce(mirror, command, body, protocol), "mirror", wanted
        )

    async def serve_kept(self, request: StreamingRequest, mirror: Mirror, command: Fetch, body: Body) -> bool:
        """Answer a fetch with a pack that was made of the same mirror before, if there is one.

        :return: whether there was.
        """
        pack = await self._cache.kept.get(self._mirrored.key(mirror, command))
        if pack is None:
            return False
        with owned(pack):
            self._mirrored.asked(mirror, command, body, request.getHeader("git-protocol"))
        try:
            await self._send(request, Response(pack, "file"), "mirror", b"")
        except OSError as failure:
            if request.startedWriting or failure.errno in EXHAUSTED:
                raise
            self.log.warn("a kept pack can't be read: {reason}", reason=str(failure))
            return False
        return True

    async def serve_upstream(
        self, request: StreamingRequest, right: Right, mirror: Mirror, command: Fetch, body: Body, wanted: bytes = b""
    ) -> None:
        """Answer a fetch with the upstream's pack.

        :param right: what the request may read.
        :param mirror: the repository's, in whatever state.
        :param body: the request's, of which the command was read.
        :param wanted: what the answer says of refs before its pack.

        :raise UpstreamError: when there is none.
        """
        asked = False

        async def produce() -> Source:
            nonlocal asked
            asked = True
            return await self._upstream.produce(
                request, right, mirror, command, body, lambda: self._cache.kept.get_file(key)
            )

        key = self._upstream.key(right, mirror, command, request.getHeader("user-agent"))
        try:
            await self._send_shared(request, key, produce, "upstream", wanted)
        except (UpstreamRefused, UpstreamBusy):
            if asked:
                raise
            # It was another client's credential that is no good, or has spent its rate.
            await self._send(request, Response(await produce(), "direct"), "upstream", wanted)

    async def _send_shared(
        self, request: StreamingRequest, key: str, produce: Produce, producer: str, wanted: bytes
    ) -> None:
        """Send what equal requests share; when the disk can't hold that, what is produced for this one alone."""
        try:
            shared = await self._cache.response(key, produce, doubted=producer == "upstream")
            await self._send(request, shared, producer, wanted)
        except (SpoolFailed, OSError) as failure:
            reason = failure.__cause__ if isinstance(failure, SpoolFailed) else failure
            if request.startedWriting or not isinstance(reason, OSError) or reason.errno in EXHAUSTED:
                raise
            self.log.warn("an answer is produced for one client alone: {reason}", reason=str(reason))
            await self._send(request, Response(await produce(), "direct"), producer, wanted)

    async def _send(self, request: StreamingRequest, response: Response, producer: str, wanted: bytes) -> None:
        source = response.source
        length = source.length if isinstance(source, FileSource | BytesSource) else None
        if wanted:
            source = told = WithWantedRefs(source, wanted)
            with owned(source):
                await told.begin()
            length = None if length is None else length + told.added
        with owned(source):
            origin = producer if response.origin in ("produced", "direct") else "packcache"
            self._metrics.served.labels(origin).inc()
            request.outcome.source = origin
            request.setHeader(b"Content-Type", RESULT)
            request.setHeader(b"Cache-Control", b"no-cache, max-age=0, must-revalidate")
        if isinstance(source, BytesSource) and source.length <= SHORT:
            request.answer(await read_all(source, SHORT))
        else:
            await send(request, source, length=length)


class CloneCount:
    """Counts clones that were served.

    :param metrics: what this server counts.
    :param tally: what all replicas count together.
    :param asked: told of each repository that was asked for as a whole.
    :param wanted: told of snapshots that would have been of use, by what the schedule calls them.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        tally: Tally,
        asked: Callable[[Identity], object] = lambda identity: None,
        wanted: Callable[[Identity, str], object] = lambda identity, name: None,
    ) -> None:
        self._wanted = wanted
        self._metrics = metrics
        self._tally = tally
        self._asked = asked

    def note(self, identity: Identity, whole: bool, chosen: str = "") -> None:
        """Count a clone of a repository.

        :param whole: whether all of it was asked for.
        :param chosen: the filter for which everything else was.
        """
        if chosen in FILTERS:
            self._wanted(identity, Variant(filter=chosen).name)
        self._metrics.clones.labels(identity.name).inc()
        self._tally.note(identity.name)
        if whole:
            self._asked(identity)
