"""The server's requests: given to their handler when the head is in, with the body as a stream."""

from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString

from cachew.http.collecting import Body
from cachew.http.headertext import Fields, text_of
from cachew.http.heads import Head
from cachew.http.incoming import IncomingBody
from cachew.plumbing.errors import BodyTimedOut


class StreamingRequest(server.Request):
    """A request whose body streams.

    ``body`` is its :class:`~cachew.plumbing.streams.Source`; a client that waits for ``100 Continue`` is told to go on
    at the first read. ``body_length`` is its length in bytes: 0 when there is no body, None when it is chunked.
    ``raw_path`` and ``raw_query`` are the target's two parts exactly as sent, the query without its question mark.
    """

    defaultContentType = None
    channel: Any
    body: IncomingBody
    body_length: int | None
    raw_path: bytes
    raw_query: bytes
    prepath: list[bytes]
    postpath: list[bytes]

    @property
    def remote_address(self) -> str:
        """The client's address in words, for the log."""
        return address_in_words(self.getClientAddress())

    @property
    def fields(self) -> Fields:
        """The headers, names in lower case, several values of one name joined with a comma.

        Looking at one that is no text raises :class:`~cachew.plumbing.errors.BadRequest`.
        """
        return Fields(self.requestHeaders.getAllRawHeaders())

    def getHeader(self, key: Any) -> Any:
        """Return a header's text, None when there is none; see :func:`cachew.http.headertext.text_of`.

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
        """Read the whole body, wherever it is kept meanwhile.

        :param limit: the most bytes that are accepted, decoded; a length announced above it is refused before a byte
            is sent.
        :param encoding: how it is encoded.
        :param seconds: in which all of it has to come; None for as long as it comes at all.
        :raise TooLarge: when there is more.
        :raise BodyTimedOut: when it has not come in time.
        :raise Busy: when too much is held already, for everybody or for this client.
        """
        site = self.channel.site
        body: Deferred[Body] = Deferred.fromCoroutine(
            site.bodies.collect(
                self.body, owner=site.client_of(self), length=self.body_length, limit=limit, encoding=encoding
            )
        )
        if seconds is not None:
            body.addTimeout(seconds, site.reactor)
        try:
            return await body
        except DeferredTimeout:
            raise BodyTimedOut(f"the request's body has not come within {seconds:.0f} seconds") from None

    async def read_body(self, limit: int) -> bytes:
        """Read the whole body into memory, where it stays for as long as it takes to read it.

        :param limit: the most bytes that are accepted; see :meth:`collect`.
        """
        body = await self.collect(limit)
        try:
            return b"".join(body.pieces())
        finally:
            body.close()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500, or break the connection off when an answer has begun."""
        if not self.startedWriting:
            super().processingFailed(reason)
            return reason
        self._log.failure("answer broken off", failure=reason)
        self.abort()
        return reason

    def abort(self) -> None:
        """Break the connection off, so that the client can't take what it has for the whole answer."""
        channel = getattr(self, "channel", None)
        if channel is not None:
            channel.abort()


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
