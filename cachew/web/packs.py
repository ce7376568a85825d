"""Packs on their way to clients: out of the pack cache, from the mirror's upload-pack, or from the upstream.

Whoever produces a pack, equal requests follow the same production, and a whole pack is kept for the next. A producer
that refuses does so before the first byte has left, so that another can be asked.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from twisted.logger import Logger

from cachew.http.bodies import send
from cachew.http.collecting import Body
from cachew.http.requests import SHORT, StreamingRequest
from cachew.mirrors.firstclones import Find, FirstClones, Serving
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.refs import RefState, of_listing
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import (
    SpoolFailed,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreachable,
)
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.remembered import Remembered
from cachew.plumbing.streams import (
    PIECE,
    BegunSource,
    BytesSource,
    FileSource,
    Source,
    WatchedSource,
    owned,
    read_start,
)
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.smarthttp.packcache import PackCache, Response
from cachew.smarthttp.packkeys import mark, pack_key
from cachew.smarthttp.wantedrefs import WithWantedRefs
from cachew.upstream.client import UpstreamClient, UpstreamResponse
from cachew.upstream.headers import is_for_people, media_type, retry_after
from cachew.upstream.presented_credential import Shown, as_it_is
from cachew.upstream.remotes import Remotes
from cachew.upstream.useragent import agent_key
from cachew.web.access.guard import Right

Produce = Callable[[], Coroutine[Any, Any, Source]]

_RESULT = b"application/x-git-upload-pack-result"
_REQUEST = b"application/x-git-upload-pack-request"
_REFUSAL_TEXT = 4096
_HEAD = 4
_PACKET = re.compile(rb"[0-9a-fA-F]{4}")


def _nothing() -> None:
    """Do nothing."""


def _in_trouble(url: str, response: UpstreamResponse) -> UpstreamError:
    """Return what to raise for an answer that neither serves the client nor refuses it."""
    reason, status = f"answered {response.status} to a fetch", response.status
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UpstreamBusy(url, reason, status=status, retry_after=retry_after(response.headers))
    return UpstreamUnreachable(url, reason)


class UpstreamPacks:
    """Has upstreams answer fetches.

    :param client: asks them.
    :param remotes: where they are.
    :param freshness: knows the refs of repositories that have no mirror yet.
    :param shown: says whose credential upstreams are shown.
    :param first: is told what clients receive of repositories that have no mirror yet, if anybody is.
    """

    def __init__(
        self,
        *,
        client: UpstreamClient,
        remotes: Remotes,
        freshness: Freshness,
        shown: Shown = as_it_is,
        first: FirstClones | None = None,
    ) -> None:
        self._client = client
        self._remotes = remotes
        self._freshness = freshness
        self._shown = shown
        self._first = first
        self._marks: Remembered[str] = Remembered()
        self._process = uuid.uuid4().hex

    def key(self, right: Right, mirror: Mirror, command: Fetch, agent: str | None) -> str:
        """Return under which key an answer is kept.

        :param agent: the client's ``User-Agent``.
        """

        def marks(prefix: str) -> str:
            known = self._freshness.known.listing(right.identity, prefix)
            found = of_listing(known) if known is not None else RefState()
            return self._marks.of(found, prefix, lambda: mark(found.refs, prefix))

        return pack_key(f"{self._of_whom(right, mirror)} {agent_key(agent)}".rstrip(), command, marks)

    def _of_whom(self, right: Right, mirror: Mirror) -> str:
        """Return what tells the upstream's answers that may be shared from others."""
        if right.instance is not None:
            return f"{right.instance.name} {mirror.life.pack_source}"
        # As long as it is not certain which repository it is, each client's answers are its own.
        shown = hashlib.sha256(repr(right.authorization).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{right.identity.name} {self._process} {right.era} {shown}"

    async def produce(
        self,
        request: StreamingRequest,
        right: Right,
        mirror: Mirror,
        command: Fetch,
        body: Body,
        kept: Find,
    ) -> Source:
        """Return an upstream's pack.

        :param right: what the request may read.
        :param kept: gives the pack once it is kept.
        :raise UpstreamError: when there is none.
        """
        serving = self._serving(right, mirror, command, kept)
        try:
            source = await self._ask(request, right, body)
        except BaseException:
            serving.ended()
            raise
        return WatchedSource(source, serving.moved, serving.ended)

    def _serving(self, right: Right, mirror: Mirror, command: Fetch, kept: Find) -> Serving:
        """Tell what a client is about to receive, if that may be of use for a mirror."""
        if self._first is None or mirror.life.ready or right.instance is None:
            return Serving(_nothing, _nothing)
        wants = command.wants if command.is_whole else None
        return self._first.began(right.instance, wants, kept)

    async def _ask(self, request: StreamingRequest, right: Right, body: Body) -> Source:
        identity = right.identity
        protocol, agent = request.getHeader("git-protocol"), request.getHeader("user-agent")
        url = self._remotes.of(identity).url
        headers = [(b"Content-Type", _REQUEST), (b"Accept", _RESULT)]
        if protocol is not None:
            headers.append((b"Git-Protocol", protocol.encode("latin-1")))
        if agent is not None:
            headers.append((b"User-Agent", agent.encode("latin-1")))
        credential = await self._shown(identity, right.authorization)
        response = await self._client.forward(
            b"POST", f"{url}/git-upload-pack", headers, body.source(), body.size, credential=credential
        )
        with owned(response.source):
            if response.status != HTTPStatus.OK and not 400 <= response.status < 500:
                raise _in_trouble(url, response)
            if response.status != HTTPStatus.OK:
                words = await read_start(response.source, _REFUSAL_TEXT)
                raise UpstreamRefused(url, status=response.status, headers=response.headers, body=words)
            if media_type(response.headers).encode() == _RESULT:
                return response.source
            # Git's clients don't look at the type, and small servers name any.
            start = b""
            while len(start) < _HEAD and (piece := await response.source.read(PIECE)):
                start += piece
            if is_for_people(response.headers) or not _PACKET.match(start):
                raise UpstreamUnreachable(url, "its answer to a fetch is not git's")
            return BegunSource(start, response.source)


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
            request.setHeader(b"Content-Type", _RESULT)
            request.setHeader(b"Cache-Control", b"no-cache, max-age=0, must-revalidate")
        if isinstance(source, BytesSource) and source.length <= SHORT:
            request.answer(source.take_all())
        else:
            await send(request, source, length=length)
