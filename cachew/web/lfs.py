"""Git LFS: batches pass with the client's own credentials, downloads that the upstream allows are kept and sent.

The upstream's answer to a batch is the client's leave. It is changed so that the client gets the objects here, by a
grant that holds this leave and nothing else does; whoever has none gets nothing, however much is kept, and neither does
whoever isn't the one it was given to, or would not be given it any more (:mod:`cachew.web.lfsgrants`). Uploads, locks
and everything else pass through untouched.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from cachew.cache.interface import Entry
from cachew.http.bodies import send
from cachew.http.conditional import evaluate
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import Forbidden
from cachew.plumbing.joinedsource import JoinedSource
from cachew.plumbing.streams import PIECE, BytesSource, Source, owned
from cachew.smarthttp.lfsobjects import CONTENT_TYPE, LfsObjects, LfsOrder
from cachew.upstream.client import UpstreamResponse
from cachew.upstream.headers import media_type
from cachew.upstream.lfsbatch import MEDIA_TYPE, WantedObject, is_oid, take_over, wanted_in
from cachew.web.access.policy import origin_of
from cachew.web.lfsgrants import GRANT_HEADER, OBJECTS, LfsAsker, LfsAskers, LfsGrants
from cachew.web.passthrough import PassThrough

_BATCH = "info/lfs/objects/batch"
_REQUEST_LIMIT = 1024 * 1024
_ANSWER_LIMIT = 16 * 1024 * 1024
_OF_THE_OLD_BODY = frozenset({b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest"})
_SAFE_IN_PATHS = "/:@!$&'()*+,;="
_SAFE_IN_QUERIES = "".join(map(chr, range(0x21, 0x7F)))
_JSON = (MEDIA_TYPE, "application/json")


class LfsRoutes:
    """Answers what lies below ``info/lfs/``.

    :param objects: the kept ones.
    :param passthrough: the way to upstreams.
    :param askers: tells who asks.
    :param grants: what is given to those who may have an object, and taken from them.
    :param in_thread: for work on long texts.
    :param is_https: whether a request came over HTTPS.
    """

    def __init__(
        self,
        *,
        objects: LfsObjects,
        passthrough: PassThrough,
        askers: LfsAskers,
        grants: LfsGrants,
        in_thread: Callable[..., Awaitable[Any]],
        is_https: Callable[[Any], bool],
    ) -> None:
        self._objects = objects
        self._passthrough = passthrough
        self._askers = askers
        self._grants = grants
        self._in_thread = in_thread
        self._is_https = is_https

    async def handle(self, request: StreamingRequest, identity: Identity, operation: str) -> None:
        """Answer one request.

        :raise CachewError: whatever kept it from being answered.
        """
        if operation.startswith(OBJECTS):
            await self._object(request, identity, operation.removeprefix(OBJECTS))
        elif operation == _BATCH and _may_be_changed(request):
            await self._batch(request, identity)
        else:
            await self._passthrough.stream(request, identity, _target(operation, request.raw_query))

    # batches

    async def _batch(self, request: StreamingRequest, identity: Identity) -> None:
        body = await request.read_body(_REQUEST_LIMIT)
        wanted, origin = wanted_in(body), origin_of(request, self._is_https)
        if not wanted or not origin:
            await self._passthrough.stream(request, identity, _BATCH, body=body)
            return

        asker = await self._askers.of(request, identity)

        async def change(answer: UpstreamResponse) -> UpstreamResponse:
            if not _is_plain_json(answer):
                return answer
            return await self._changed(answer, asker, wanted, origin)

        await self._passthrough.stream(request, identity, _BATCH, body=body, change=change)

    async def _changed(
        self, answer: UpstreamResponse, asker: LfsAsker, wanted: frozenset[WantedObject], origin: str
    ) -> UpstreamResponse:
        with owned(answer.source):
            desk = self._grants.desk(asker, origin)
            text = await _beginning(answer.source, _ANSWER_LIMIT + 1)
        if len(text) > _ANSWER_LIMIT:
            return replace(answer, source=JoinedSource(text, answer.source))
        answer.source.close()
        changed = await self._in_thread(take_over, text, wanted=wanted, now=desk.now, address_of=desk.address_of)
        if changed is None:
            changed = text
        else:
            self._grants.leave.given(asker.identity, asker.instance, asker.credential)
        headers = [(name, value) for name, value in answer.headers if name.lower() not in _OF_THE_OLD_BODY]
        return replace(answer, headers=headers, source=BytesSource(changed), length=len(changed))

    # objects

    async def _object(self, request: StreamingRequest, identity: Identity, oid: str) -> None:
        allow_methods(request, "GET")
        shown = request.getHeader(GRANT_HEADER) or ""
        if not is_oid(oid):
            raise Forbidden("what is asked for is no LFS object")
        order = await self._grants.order(shown, await self._askers.of(request, identity), oid)
        entry = await self._objects.kept(order)
        try:
            await self._answer(request, order, entry)
        finally:
            if entry is not None:
                entry.close()

    async def _answer(self, request: StreamingRequest, order: LfsOrder, entry: Entry | None) -> None:
        whole = entry is None and not self._objects.fits(order)
        fields = {} if whole else request.fields
        decision = evaluate(
            request.method.decode("latin-1"), fields, etag=order.wanted.oid, modified=None, size=order.wanted.size
        )
        request.setResponseCode(decision.status)
        # The address is the same for everybody, and a cache on the way knows nothing of grants.
        request.setHeader(b"Cache-Control", b"private, no-store")
        for name, value in decision.headers.items():
            request.setHeader(name.encode(), value.encode())
        source: Source = BytesSource(b"")
        request.outcome.source = "upstream" if entry is None else "cache"
        decision.check()
        if decision.status in (200, 206) and request.method != b"HEAD":
            if entry is not None:
                source = entry.source(decision.start, decision.length)
            elif whole:
                source = await self._objects.receive(order)
            else:
                source = await self._objects.follow(order, decision.start)
        if decision.status in (200, 206):
            request.setHeader(b"Content-Type", CONTENT_TYPE.encode())
            await send(request, source, length=decision.length)


def _may_be_changed(request: StreamingRequest) -> bool:
    """Say whether a batch may be read, and its answer changed; others pass as they are."""
    short = request.body_length is None or request.body_length <= _REQUEST_LIMIT
    return short and request.method == b"POST" and not request.getHeader("content-encoding")


async def _beginning(source: Source, least: int) -> bytes:
    """Read so many bytes of a source, or somewhat more, or all of it, and leave it open."""
    pieces, total = [], 0
    while total < least and (piece := await source.read(PIECE)):
        pieces.append(piece)
        total += len(piece)
    return b"".join(pieces)


def _target(operation: str, query: bytes) -> str:
    """Return what an upstream is asked for below a repository; some clients encode less of it than a URL may hold."""
    path = quote(operation, safe=_SAFE_IN_PATHS)
    return f"{path}?{quote(query, safe=_SAFE_IN_QUERIES)}" if query else path


def _is_plain_json(answer: UpstreamResponse) -> bool:
    return answer.status == 200 and media_type(answer.headers) in _JSON
