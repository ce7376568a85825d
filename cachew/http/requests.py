"""The server's requests: given to their handler when the head is in, with the body as a stream.

Here is also the one way in which header bytes of strangers become text, or a refusal.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString

from cachew.http.collecting import FREE
from cachew.http.heads import Head
from cachew.http.incoming import Body, HeldBody, IncomingBody
from cachew.plumbing.errors import BadRequest, BodyTimedOut, MethodNotAllowed
from cachew.plumbing.streams import read_all

_OPAQUE = frozenset({"cookie", "if-match", "if-none-match", "if-range"})
"""Names whose values may hold any byte: entity tags (RFC 9110, 8.8.3), and cookies that others have set."""
_BOUND = frozenset({b"negotiate", b"ntlm", b"kerberos", b"digest"})
_SCHEME = re.compile(rb"\s*([A-Za-z0-9]*)")
"""The letters that a scheme begins with: libcurl looks at no more of it, and servers end it at any blank."""

SHORT = 64 * 1024
"""Bytes of an answer that are sent whatever the client takes."""


def text_of(name: str, values: Iterable[bytes]) -> str:
    """Return a header's text: one character for each byte (Latin-1), so that it can be sent on as it came.

    :param name: the header's.
    :param values: its values in their order, which are joined as RFC 9110, 5.3, says.
    :raise BadRequest: when it is no text in any sense that matters: not UTF-8.
    """
    whole = (b"; " if name.lower() == "cookie" else b", ").join(values)
    if not whole.isascii() and name.lower() not in _OPAQUE:
        try:
            whole.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"the header {name} is not text") from None
    return whole.decode("latin-1")


class Fields(Mapping[str, str]):
    """A request's headers as text, which is made, or refused, when one is looked at.

    :param raw: names, and the values of each.
    """

    def __init__(self, raw: Iterable[tuple[bytes, Iterable[bytes]]]) -> None:
        self._raw = {name.decode("latin-1").lower(): tuple(values) for name, values in raw}

    def __getitem__(self, name: str) -> str:
        return text_of(name, self._raw[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, name: object) -> bool:
        return name in self._raw


@dataclass
class Outcome:
    """What a request turned out to be, noted by whoever answers it, for the request log and the metrics.

    :param route: what was asked for, out of a small fixed vocabulary (``git info/refs``, ``api``); a metrics label.
    :param source: where the answer came from (``mirror``, ``upstream``, …), empty when that means nothing.
    :param id: by which it is told from others.
    :param shape: what of it was asked for (``fetch wants=2 filter=blob:none``, ``base=…``), empty when its path says
        all; nothing in it lets anybody in.
    """

    route: str = "other"
    source: str = ""
    shape: str = ""
    id: str = ""


class StreamingRequest(server.Request):
    """A request whose body streams.

    ``body`` is its :class:`~cachew.plumbing.streams.Source`; a client that waits for ``100 Continue`` is told to go on
    at the first read. ``body_length`` is its length in bytes: 0 when there is no body, None when it is chunked.
    ``raw_path`` and ``raw_query`` are the target's two parts exactly as sent, the query without its question mark.
    ``outcome`` is for whoever answers to note what it was.
    """

    defaultContentType = None
    channel: Any
    body: IncomingBody
    body_length: int | None
    raw_path: bytes
    raw_query: bytes
    outcome: Outcome
    prepath: list[bytes]
    postpath: list[bytes]
    attributed_to = ""
    """Whom the request is put down to, as soon as somebody has found that out."""
    own_url = ""
    """Where clients find this server, without a slash at the end; empty where only the request tells."""

    def __repr__(self) -> str:
        """Name it without its target, which may hold what is secret, and bytes of any kind."""
        return object.__repr__(self)

    @property
    def remote_address(self) -> str:
        """The client's address in words, for the log."""
        return address_in_words(self.getClientAddress())

    @property
    def has_left(self) -> bool:
        """Whether all of an answer was sent to a client that then closed at once: it has what it asked for."""
        announced = self.responseHeaders.getRawHeaders(b"content-length") or []
        if not self.startedWriting or len(announced) != 1 or not announced[0].isdigit():
            return False
        return self.method == b"HEAD" or bool(self.sentLength >= int(announced[0]))

    @property
    def fields(self) -> Fields:
        """The headers, names in lower case, several values of one name joined with a comma.

        Looking at one that is no text raises :class:`~cachew.plumbing.errors.BadRequest`.
        """
        return Fields(self.requestHeaders.getAllRawHeaders())

    def getHeader(self, key: Any) -> Any:
        """Return a header's text, None when there is none; see :func:`cachew.http.requests.text_of`.

        :raise BadRequest: when it is no text.
        """
        if isinstance(key, bytes):
            return super().getHeader(key)
        values = self.requestHeaders.getRawHeaders(key.encode("ascii"))
        return None if not values else text_of(key, values)

    def begin(self, head: Head, body: IncomingBody) -> None:
        """Take the head from the channel and be answered."""
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.raw_path, _, self.raw_query = head.target.partition(b"?")
        self.path, self.args = self.raw_path, parse_query(self.raw_query)
        self.body, self.body_length = body, head.body_length
        self.outcome = Outcome()
        for name, value in head.headers:
            self.requestHeaders.addRawHeader(name, value)
        self.parseCookies()
        self.process()

    def process(self) -> None:
        """Hand the request to its resource."""
        self.site = self.channel.site
        self.setHeader(b"Date", datetimeToString())
        self.prepath = []
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        try:
            self.render(self.site.getResourceFor(self))
        except Exception:
            self.processingFailed(Failure())

    async def collect(self, limit: int, *, encoding: str | None = None, seconds: float | None = None) -> Body:
        """Read the whole body, wherever it is kept meanwhile: one that is small is held here.

        :param limit: the most bytes that are accepted, decoded; a length announced above it is refused before a byte
            is sent.
        :param encoding: how it is encoded.
        :param seconds: in which all of it has to come; None for as long as it comes at all.
        :raise TooLarge: when there is more.
        :raise BodyTimedOut: when it has not come in time.
        :raise Busy: when too much is held already, for everybody or for this client.
        """
        body: Deferred[Body] = Deferred.fromCoroutine(self._whole(limit, encoding))
        if seconds is not None:
            body.addTimeout(seconds, self.channel.site.reactor)
        try:
            return await body
        except DeferredTimeout:
            raise BodyTimedOut(f"the request's body has not come within {seconds:.0f} seconds") from None

    async def _whole(self, limit: int, encoding: str | None) -> Body:
        if encoding is None and self.body_length is not None and self.body_length <= min(FREE, limit):
            return HeldBody(await read_all(self.body, FREE))
        site = self.channel.site
        body: Body = await site.bodies.collect(
            self.body, owner=site.client_of(self), length=self.body_length, limit=limit, encoding=encoding
        )
        return body

    async def read_body(self, limit: int, *, encoding: str | None = None) -> bytes:
        """Read the whole body into memory, where it stays for as long as it takes to read it.

        :param limit: the most bytes that are accepted; see :meth:`collect`.
        :param encoding: how it is encoded.
        """
        body = await self.collect(limit, encoding=encoding)
        try:
            return b"".join(body.pieces())
        finally:
            body.close()

    def answer(self, body: bytes) -> None:
        """Send a body that is in memory and :data:`SHORT`: at once, though the client should be slow to take it.

        :raise CancelledError: when the client went away.
        """
        if self.connection is None:
            raise CancelledError()
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500, or break the connection off when an answer has begun."""
        if not self.startedWriting:
            super().processingFailed(reason)
            return reason
        self._log.failure("answer broken off", failure=reason)
        self.abort()
        return reason

    @property
    def connection(self) -> Any:
        """The channel of the client's connection; None when that is gone, or the request answered."""
        return getattr(self, "channel", None)

    def abort(self) -> None:
        """Break the connection off, so that the client can't take what it has for the whole answer."""
        if self.connection is not None:
            self.connection.abort()


def allow_methods(request: StreamingRequest, *methods: str) -> None:
    """Refuse a request with any other method.

    :raise MethodNotAllowed: with HEAD among the allowed ones wherever GET is.
    """
    allowed = (*methods, "HEAD") if "GET" in methods and "HEAD" not in methods else methods
    if request.method.decode("latin-1") not in allowed:
        raise MethodNotAllowed(allowed)


def is_bound(proof: bytes) -> bool:
    """Whether what somebody proves himself with, or is to, holds for one connection or address only.

    See RFC 4559, section 6, and RFC 7616, section 3.4.3.
    """
    scheme = _SCHEME.match(proof)
    return scheme is not None and scheme[1].lower() in _BOUND


def parse_query(raw: bytes) -> dict[bytes, list[bytes]]:
    """Return the values of each name in a query, decoded; only ``&`` separates them."""
    fields: dict[bytes, list[bytes]] = {}
    for pair in filter(None, raw.split(b"&")):
        name, _, value = (unquote_to_bytes(part) for part in pair.replace(b"+", b" ").partition(b"="))
        fields.setdefault(name, []).append(value)
    return fields


def address_in_words(address: IAddress | None) -> str:
    """Return an address's host, or what kind of address it is when it has none."""
    return str(getattr(address, "host", None) or type(address).__name__)
