"""Sends clients to the object store for what is large and lies there, once it is certain that they may have it.

The address in the store proves itself and is good for a while. So that nothing else reaches the store, only those are
sent there who show no credential and state no condition, which their libraries might repeat at the store, or who say by
a header that they know better, as this project's own client does.
"""

from collections.abc import Awaitable, Callable

from cachew.cache.interface import ObjectInfo
from cachew.http.bodies import send
from cachew.http.conditional import Decision
from cachew.http.requests import StreamingRequest
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource

WANTED_HEADER = "X-Cachew-Redirect"
"""How many bytes a client that follows redirects will fetch from the address that it is given."""
_DIGITS = 20
_KEPT_HERE = frozenset(
    {"authorization", "cookie", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"}
)


class StoreRedirects:
    """Answers requests for stored objects with addresses in the store.

    :param presigned: gives an address of an object, None where there is none.
    :param is_credential: says which other headers are credentials, by their lower-case names.
    :param metrics: counts what need not pass through here.
    """

    def __init__(
        self,
        *,
        presigned: Callable[[ObjectInfo], Awaitable[str | None]],
        metrics: Metrics,
        is_credential: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._presigned = presigned
        self._metrics = metrics
        self._is_credential = is_credential

    async def address(self, request: StreamingRequest, info: ObjectInfo, decision: Decision) -> str | None:
        """Return where a client is to fetch what it asks for, None when it is to have it from here.

        Whoever waits for this looks afterwards whether the client may still have it.

        :param decision: how the request would be answered.
        """
        if request.method != b"GET" or decision.status not in (200, 206) or not self._may_be_sent(request):
            return None
        return await self._presigned(info)

    def _may_be_sent(self, request: StreamingRequest) -> bool:
        names = {name.lower() for name in request.fields}
        if WANTED_HEADER.lower() in names:
            return _number(request) is not None
        return not names & _KEPT_HERE and not any(map(self._is_credential, names))

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
        address = await self._presigned(info)
        if address is not None:
            self._metrics.presigned.labels("bundle-list").inc()
        return address


def _number(request: StreamingRequest) -> int | None:
    values = request.requestHeaders.getRawHeaders(WANTED_HEADER.encode()) or [b""]
    return int(values[0]) if len(values) == 1 and values[0].isdigit() and len(values[0]) < _DIGITS else None
