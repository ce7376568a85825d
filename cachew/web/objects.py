"""The object API: what build tools and the command line store and fetch, streamed both ways.

The paths, headers, statuses and JSON fields are those of the original server, so that its client works here and this
one works there.
"""

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

from klein import Klein

from cachew.cache.interface import Cache, ObjectInfo, namespace_name, object_key
from cachew.http.bodies import send
from cachew.http.conditional import PRECONDITIONS, Decision, evaluate
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.errors import BadRequest, Forbidden, NoRoom, NotFound, PreconditionFailed, StorageFull, TooLarge
from cachew.plumbing.jobs import Slots
from cachew.plumbing.streams import PIECE, BytesSource, Source
from cachew.web.app import OBJECTS
from cachew.web.forms import header
from cachew.web.objectheaders import last_modified, returned, storable, time_to_live, uploaded_tag
from cachew.web.storedanswers import StoreRedirects

_RESERVED = frozenset({"git", "lfs"})


class ObjectRoutes:
    """The routes below ``/api/v1/``.

    :param cache: where the objects are.
    :param limit: the most bytes of one object.
    :param redirects: sends clients to the store for what is large.
    :param reserved: namespaces that cachew itself stores in; nobody gets at them here.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        redirects: StoreRedirects,
        limit: int | None = None,
        reserved: frozenset[str] = _RESERVED,
    ) -> None:
        self._cache = cache
        self._redirects = redirects
        self._limit = limit
        self._reserved = reserved
        self._turns: WeakValueDictionary[tuple[str, str], Slots] = WeakValueDictionary()

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route(OBJECTS, branch=True)(self.object)
        app.route("/api/v1/stats")(self.stats)
        app.route("/api/v1/namespaces")(self.namespaces)

    async def object(self, request: StreamingRequest) -> bytes | None:
        """Answer for one object, or for its ``invalidate``."""
        namespace, key, *operation = _parse(request.uri)
        if operation not in ([], ["invalidate"]):
            raise NotFound("not found")
        allow_methods(request, *(("POST",) if operation else ("GET", "HEAD", "POST", "DELETE")))
        if namespace_name(namespace) in self._reserved:
            raise Forbidden(f"the namespace {namespace} is cachew's own")
        if operation:
            await self._cache.invalidate(namespace, key)
            return b""
        answer = {b"GET": self._get, b"HEAD": self._head, b"POST": self._post, b"DELETE": self._delete}
        return await answer[request.method](request, namespace, key)

    async def _get(self, request: StreamingRequest, namespace: str, key: str) -> bytes | None:
        entry = await self._cache.open(namespace, key)
        if entry is None:
            raise NotFound("no such object")
        try:
            decision = _decide(request, entry.info)
            if decision.status not in (200, 206):
                return b""
            address = await self._redirects.address(request, entry.info, decision)
            if address is not None:
                await self._redirects.send(request, address, decision, "object")
                return None
            await send(request, entry.source(decision.start, decision.length), length=decision.length)
        finally:
            entry.close()
        return None

    async def _head(self, request: StreamingRequest, namespace: str, key: str) -> bytes | None:
        info = await self._cache.stat(namespace, key)
        if info is None:
            raise NotFound("no such object")
        if _decide(request, info).status != 200:
            return b""
        await send(request, BytesSource(b""), length=info.size)
        return None

    async def _post(self, request: StreamingRequest, namespace: str, key: str) -> bytes:
        self._check_size(request.body_length or 0)
        if request.requestHeaders.hasHeader(b"Content-Range"):
            raise BadRequest("Content-Range: an object is stored whole, never in parts")
        await self._check_preconditions(request, namespace, key)
        try:
            info = await self._store(request, namespace, key)
        except StorageFull as full:
            raise NoRoom(str(full)) from full
        request.setHeader(b"ETag", f'"{info.etag}"'.encode())
        return b""

    async def _store(self, request: StreamingRequest, namespace: str, key: str) -> ObjectInfo:
        writer = await self._cache.create(
            namespace,
            key,
            headers=storable(request.requestHeaders.getAllRawHeaders()),
            size=request.body_length,
            ttl=time_to_live(header(request, "Time-To-Live")),
            etag=uploaded_tag(header(request, "ETag")),
        )
        received = 0
        try:
            while data := await _next_piece(request.body):
                received += len(data)
                self._check_size(received)
                await writer.write(data)
            async with self._turn(namespace, key):
                await self._check_preconditions(request, namespace, key)
                return await writer.commit()
        finally:
            await writer.abort()

    def _turn(self, namespace: str, key: str) -> AbstractAsyncContextManager[None]:
        """Change an object alone, so that what was checked before is still so; other replicas know nothing of it."""
        return self._turns.setdefault((namespace, object_key(key)), Slots(limit=1)).take("")

    async def _check_preconditions(self, request: StreamingRequest, namespace: str, key: str) -> None:
        """Refuse to change an object that is not in the state that the client asks for."""
        asked = {name.lower() for name in request.fields}
        if not asked & PRECONDITIONS:
            return
        info = await self._cache.stat(namespace, key)
        if info is not None:
            _evaluated(request, info).check()
        elif "if-match" in asked and request.method != b"DELETE":  # which is told that there is none
            raise PreconditionFailed({})

    def _check_size(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise TooLarge(self._limit, "object")

    async def _delete(self, request: StreamingRequest, namespace: str, key: str) -> bytes:
        async with self._turn(namespace, key):
            await self._check_preconditions(request, namespace, key)
            if not await self._cache.delete(namespace, key):
                raise NotFound("no such object")
        return b""

    async def stats(self, request: StreamingRequest) -> bytes:
        """Tell how full the cache is."""
        allow_methods(request, "GET")
        return _as_json(request, asdict(await self._cache.stats()))

    async def namespaces(self, request: StreamingRequest) -> bytes:
        """List the namespaces that can be used here."""
        allow_methods(request, "GET")
        return _as_json(request, [name for name in await self._cache.namespaces() if name not in self._reserved])


async def _next_piece(body: Source) -> bytes:
    """Return the next 256 KiB, less at the end: sockets give less at a time, and writing each costs a thread's turn."""
    pieces, size = list[bytes](), 0
    while size < PIECE and (data := await body.read(PIECE - size)):
        pieces.append(data)
        size += len(data)
    return b"".join(pieces)


def _parse(uri: bytes) -> list[str]:
    """Return namespace, key and operation out of a raw request target; ``%2F`` in a key is part of it."""
    path, prefix = uri.partition(b"?")[0], OBJECTS.encode("ascii")
    segments = path.removeprefix(prefix).split(b"/")
    if not path.startswith(prefix) or len(segments) < 2:
        raise NotFound("not found; objects are at /api/v1/object/NAMESPACE/KEY")
    try:
        return [unquote_to_bytes(segment).decode("utf-8") for segment in segments]
    except UnicodeDecodeError as error:
        raise BadRequest("the path is not UTF-8") from error


def _evaluated(request: StreamingRequest, info: ObjectInfo) -> Decision:
    method = request.method.decode("ascii")
    modified = last_modified(info.headers, info.modified)
    return evaluate(method, request.fields, etag=info.etag, modified=modified, size=info.size)


def _decide(request: StreamingRequest, info: ObjectInfo) -> Decision:
    """Set status and headers of the answer to a read.

    :raise PreconditionFailed: when the client insists on another version.
    :raise RangeNotSatisfiable: when it asks for a range of bytes that are not there.
    """
    decision = _evaluated(request, info)
    decision.check()
    request.setResponseCode(decision.status)
    request.setHeader(b"Content-Type", b"application/octet-stream")
    for name, value in returned(info.headers):
        request.setHeader(name, value)
    for field, text in decision.headers.items():
        request.setHeader(field.encode("ascii"), text.encode("ascii"))
    return decision


def _as_json(request: StreamingRequest, value: object) -> bytes:
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
