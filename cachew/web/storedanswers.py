"""How a request is answered with a stored object: whole, in part, not at all, or with its address in the store.

Clients are sent to the object store for what is large and lies there, once it is certain that they may have it. The
address in the store proves itself and is good for a while. So that nothing else reaches the store, only those are sent
there who show no credential and state no condition, which their libraries might repeat at the store, or who say by a
header that they know better, as this project's own client does.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing

from twisted.logger import Logger

from cachew.cache.interface import Entry, ObjectInfo
from cachew.http.bodies import send
from cachew.http.conditional import Decision, evaluate
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.errors import BadRequest, CorruptObject, Superseded, UnknownPath
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource, Source, owned
from cachew.snapshots.store import ARCHIVE_TYPE, COMMIT_HEADER
from cachew.web.access.guard import Right

WANTED_HEADER = "X-Cachew-Redirect"
"""How many bytes a client that follows redirects will fetch from the address that it is given."""
_DIGITS = 20
_KEPT_HERE = frozenset(
    {"authorization", "cookie", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"}
)
_RELAYED = ("Content-Type", COMMIT_HEADER)
_TRIES = 3
"""How often what is damaged is looked for again; there are hardly more tiers."""
_PARAMETERS = frozenset({"base", "bundle", "filter", "ref"})
_log = Logger()


class StoreRedirects:
    """Answers requests for stored objects with addresses in the store.

    :param presigned: gives an address of an object, None where there is none; None where no store gives any.
    :param are_credentials: each says of which other headers it knows that they are, by their lower-case names.
    :param metrics: counts what need not pass through here.
    """

    def __init__(
        self,
        *,
        presigned: Callable[[ObjectInfo], Awaitable[str | None]] | None,
        metrics: Metrics,
        are_credentials: Iterable[Callable[[str], bool]] = (),
    ) -> None:
        self._presigned = presigned
        self._metrics = metrics
        self._are_credentials = tuple(are_credentials)

    async def address(self, request: StreamingRequest, info: ObjectInfo, decision: Decision) -> str | None:
        """Return where a client is to fetch what it asks for, None when it is to have it from here.

        Whoever waits for this looks afterwards whether the client may still have it.

        :param decision: how the request would be answered.
        """
        if self._presigned is None or request.method != b"GET" or decision.status not in (200, 206):
            return None
        return await self._presigned(info) if self._may_be_sent(request) else None

    def _may_be_sent(self, request: StreamingRequest) -> bool:
        names = {name.lower() for name in request.fields}
        if WANTED_HEADER.lower() in names:
            return _number(request) is not None
        return not names & _KEPT_HERE and not any(says(name) for says in self._are_credentials for name in names)

    async def send(self, request: StreamingRequest, address: str, decision: Decision, what: str) -> None:
        """Answer with an address.

        :param what: the kind of object, for the metric.
        """
        wanted = _number(request)
        bytes_there = decision.length if wanted is None else min(wanted, decision.size)
        self._metrics.redirected_bytes.labels(what).inc(bytes_there)
        self._metrics.presigned.labels(what).inc()
        request.outcome.source = "redirect"
        request.setResponseCode(307)
        for name in (b"Content-Range", b"Content-Type"):
            request.responseHeaders.removeHeader(name)
        request.setHeader(b"Location", address.encode("ascii"))
        request.setHeader(b"Cache-Control", b"private, no-store")
        await send(request, BytesSource(b""), length=0)

    async def listed(self, info: ObjectInfo) -> str | None:
        """Return the address of an object for a list of what can be fetched."""
        address = None if self._presigned is None else await self._presigned(info)
        if address is not None:
            self._metrics.presigned.labels("bundle-list").inc()
        return address


def _number(request: StreamingRequest) -> int | None:
    values = request.requestHeaders.getRawHeaders(WANTED_HEADER.encode()) or [b""]
    return int(values[0]) if len(values) == 1 and values[0].isdigit() and len(values[0]) < _DIGITS else None


async def answer_one_of(
    operations: Mapping[str, Callable[[StreamingRequest, Right], Awaitable[None]]],
    operation: str,
    request: StreamingRequest,
    right: Right,
) -> None:
    """Answer with what is stored, once more where it turns out damaged, or of another repository by now.

    :param operations: what answers each operation.
    :raise CachewError: whatever kept it from being answered.
    """
    allow_methods(request, "GET")
    answer = operations.get(operation)
    if answer is None:
        raise UnknownPath("no such operation on a repository")
    headers = request.responseHeaders.copy()
    for _ in range(_TRIES):
        request.outcome.source = "cache"
        try:
            await answer(request, right)
            return
        except (CorruptObject, Superseded) as error:
            if request.startedWriting:
                raise
            # What is damaged has been removed: another tier has it, or it is made anew while the client waits.
            _log.warn("{repository}: asking again: {error}", repository=right.identity.name, error=str(error))
            request.responseHeaders = headers.copy()
            request.setResponseCode(200)
            right = await right.renewed()
    await answer(request, right)


async def serve(
    request: StreamingRequest,
    entry: Entry,
    more: Mapping[str, str],
    *,
    redirects: StoreRedirects,
    what: str,
    still: Callable[[], object],
) -> None:
    """Send a stored object, or say where in the store it is.

    :param entry: the object; it is closed.
    :param more: headers besides those that are stored.
    :param what: the kind of object, for the metric.
    :param still: raises when the client may not have it any more.
    """
    with closing(entry):
        info = entry.info
        decision = decide(request, etag=info.etag, modified=info.modified, size=info.size)
        address = await redirects.address(request, info, decision)
        still()
        if address is None:
            await _send_decided(request, info, decision, entry, more)
            return
        for name, value in {**_described(info), **more, **decision.headers}.items():
            request.setHeader(name.encode(), value.encode())
        await redirects.send(request, address, decision, what)


async def answer_with(
    request: StreamingRequest, info: ObjectInfo, entry: Entry | None, more: Mapping[str, str]
) -> None:
    """Answer with a stored object, or the part of it that was asked for.

    :param entry: None when there is only to be said what it is like.
    :param more: headers besides those that are stored.
    """
    decision = decide(request, etag=info.etag, modified=info.modified, size=info.size)
    await _send_decided(request, info, decision, entry, more)


async def _send_decided(
    request: StreamingRequest, info: ObjectInfo, decision: Decision, entry: Entry | None, more: Mapping[str, str]
) -> None:
    source: Source = BytesSource(b"")
    if entry is not None and decision.length:
        source = entry.source(decision.start, decision.length)
    await answer_as_decided(request, decision, source, {**_described(info), **more})


def _described(info: ObjectInfo) -> dict[str, str]:
    stored = {name: info.headers[name] for name in _RELAYED if name in info.headers}
    return {"Content-Type": ARCHIVE_TYPE, **stored}


def decide(request: StreamingRequest, *, etag: str, modified: float, size: int) -> Decision:
    """Decide how to answer a request; see :func:`cachew.http.conditional.evaluate`."""
    method = request.method.decode("latin-1")
    return evaluate(method, request.fields, etag=etag, modified=modified, size=size)


async def answer_as_decided(
    request: StreamingRequest, decision: Decision, source: Source, headers: Mapping[str, str]
) -> None:
    """Send what was decided.

    :param source: the bytes of a body, if there is to be one; it is closed.
    :param headers: what describes them, and what else there is to say.
    :raise PreconditionFailed: when the client insists on another version.
    :raise RangeNotSatisfiable: when it asks for a range of bytes that are not there.
    """
    with owned(source):
        request.setResponseCode(decision.status)
        for name, value in {**headers, **decision.headers}.items():
            request.setHeader(name.encode(), value.encode())
    if decision.status in (200, 206):
        await send(request, source, length=decision.length)
    else:
        source.close()
        request.responseHeaders.removeHeader(b"Content-Type")
        decision.check()


def query_of(request: StreamingRequest) -> dict[str, str]:
    """Return a request's query.

    :raise BadRequest: when what is asked for is no text, or said twice and differently, so that others may take it for
        the other.
    """
    query = {}
    for raw_name, values in request.args.items():
        name = raw_name.decode("utf-8", "replace")
        if name in _PARAMETERS and len(set(values)) > 1:
            raise BadRequest(f"{name} is given more than once")
        try:
            errors = "surrogateescape" if name == "ref" else "strict" if name in _PARAMETERS else "replace"
            query[name] = values[-1].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise BadRequest(f"{name} is not UTF-8") from None
    return query
