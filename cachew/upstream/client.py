"""Asking upstreams for their refs and passing requests on to them.

A ref check is one small request over a kept connection and never takes longer than it is allowed to. A forwarded
request streams both ways; nothing of it is held here.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NoReturn, Protocol

from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse

from cachew.plumbing.errors import (
    BadRequest,
    TooLarge,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.pktline import Decoder, Packet
from cachew.plumbing.streams import PIECE, Source
from cachew.upstream import headers as http
from cachew.upstream.advertisement import AdvertisementParser
from cachew.upstream.agent import Agents
from cachew.upstream.backoff import Backoff
from cachew.upstream.exchange import Exchange, raw, without_credentials
from cachew.upstream.failures import explain_answer
from cachew.upstream.gunzip import BrokenGzip, GunzipSource
from cachew.upstream.hosts import Hosts
from cachew.upstream.listing import (
    AGENT,
    Capabilities,
    Listing,
    LsRefsParser,
    MalformedListing,
    RemoteError,
    ls_refs_request,
)
from cachew.upstream.redirects import Moves, same_origin, split_operation
from cachew.upstream.storage import follow_storage, may_hold, name_of

LISTING_LIMIT = 256 * 1024 * 1024
"""The largest ref listing, in bytes after decompression, that is read."""

_REFUSAL_TEXT = 4096
_STORAGE_OWN = frozenset({b"user-agent", b"accept-encoding", b"range"})
_INFO_REFS = "/info/refs?service=git-upload-pack"


@dataclass(frozen=True)
class Timeouts:
    """How long upstreams are waited for, in seconds.

    :param connect: for a connection.
    :param check: for a whole ref check.
    :param first_byte: for the head of a forwarded request's response, once the request has been sent.
    :param idle: for the next piece of a response.
    """

    connect: float = 10.0
    check: float = 10.0
    first_byte: float = 60.0
    idle: float = 60.0


@dataclass(frozen=True)
class UpstreamResponse:
    """The response to a forwarded request.

    :param status: its status.
    :param headers: those that the client may see, without the length.
    :param source: its body as it came, still encoded; whoever gets it closes it.
    :param length: the length of the body in bytes, None when unknown; for HEAD that of the body it stands for.
    :param url: where it came from in the end.
    """

    status: int
    headers: http.RawHeaders
    source: Source
    length: int | None
    url: str


class _Parser(Protocol):
    def take(self, packet: Packet) -> None: ...


@dataclass(frozen=True)
class _Check:
    """What one ref check asks, as :meth:`UpstreamClient.list_refs` is asked it."""

    url: str
    prefixes: Sequence[str] | None
    authorization: str | None = field(repr=False)
    known: Capabilities | None
    before: Listing | None


class UpstreamClient:
    """Talks git's HTTP to upstreams.

    :param reactor: where time comes from.
    :param agents: how requests are sent.
    :param hosts: says where redirects may lead.
    :param backoff: says when an upstream is to be left alone.
    :param metrics: counts requests.
    :param timeouts: how long upstreams are waited for.
    :param listing_limit: the largest ref listing, in bytes after decompression.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        agents: Agents,
        hosts: Hosts,
        backoff: Backoff,
        metrics: Metrics,
        timeouts: Timeouts = Timeouts(),
        listing_limit: int = LISTING_LIMIT,
    ) -> None:
        self._reactor, self._backoff, self._hosts = reactor, backoff, hosts
        self._timeouts, self._listing_limit = timeouts, listing_limit
        self._exchange = Exchange(reactor=reactor, agents=agents, hosts=hosts, metrics=metrics, idle=timeouts.idle)
        self._moves = Moves()

    # ref checks

    async def list_refs(
        self,
        url: str,
        *,
        prefixes: Sequence[str] | None = None,
        authorization: str | None = None,
        known: Capabilities | None = None,
        before: Listing | None = None,
    ) -> tuple[Listing, Capabilities]:
        """Ask a repository for its refs.

        :param url: the repository's URL, without ``/info/refs``.
        :param prefixes: prefixes that bound the listing; None for all refs.
        :param authorization: the ``Authorization`` to send.
        :param known: what an earlier call returned, which saves a request with upstreams that speak v2.
        :param before: an earlier listing, most of which may come again; it costs less to read then.
        :return: the listing, and what to pass as ``known`` next time.
        :raise UpstreamRefused: when it answers 401, 403, 404 or another 4xx.
        :raise UpstreamBusy: when it answers 429 or 5xx, or has done so and is still to be left alone.
        :raise UpstreamUnreachable: when there is no answer, or none that is git's.
        :raise UpstreamTimeout: when it takes longer than ``timeouts.check``.
        """
        scope = (url, sha256((authorization or "").encode("utf-8", "surrogateescape")).digest())
        self._backoff.check(scope, url)
        work = Deferred.fromCoroutine(self._checked(_Check(url, prefixes, authorization, known, before)))
        try:
            result = await work.addTimeout(self._timeouts.check, self._reactor, lambda *_: self._too_slow(url))
        except UpstreamBusy as busy:
            self._backoff.busy(scope, status=busy.status, retry_after=busy.retry_after)
            raise
        self._backoff.well(scope)
        return result

    def _too_slow(self, url: str) -> NoReturn:
        raise UpstreamTimeout(url, f"did not answer a ref check within {self._timeouts.check:.0f} seconds")

    async def _checked(self, check: _Check) -> tuple[Listing, Capabilities]:
        try:
            listing, capabilities = await self._list(check)
        except (MalformedListing, RemoteError, BrokenGzip) as failure:
            raise explain_answer(check.url, failure) from failure
        except TooLarge as failure:
            raise UpstreamUnreachable(check.url, str(failure)) from failure
        return listing.filtered(check.prefixes), capabilities

    async def _list(self, check: _Check) -> tuple[Listing, Capabilities]:
        known = check.known
        # A known redirect is no shortcut: it may have been meant only for whoever was redirected.
        if known is not None and known.protocol == 2 and known.base_url == check.url:
            # When that fails the upstream may have changed since, and is asked what it speaks now.
            with suppress(MalformedListing):
                return await self._ls_refs(check, known), known
        capabilities, listing = await self._discover(check.url, check.authorization)
        if listing is None:
            listing = await self._ls_refs(check, capabilities)
        return listing, capabilities

    async def _discover(self, url: str, authorization: str | None) -> tuple[Capabilities, Listing | None]:
        headers = _headers("application/x-git-upload-pack-advertisement", authorization)
        response, final = await self._exchange.get_following(url + _INFO_REFS, headers, seconds=self._timeouts.check)
        base = split_operation(final)[0]
        self._moves.note(url, authorization, base)
        parser = AdvertisementParser()
        await self._read(url, response, "application/x-git-upload-pack-advertisement", parser)
        capabilities, listing = parser.result()
        if listing is None and "ls-refs" not in capabilities.features:
            raise MalformedListing("it speaks protocol v2 without ls-refs")
        return Capabilities(capabilities.features, capabilities.protocol, base), listing

    async def _ls_refs(self, check: _Check, capabilities: Capabilities) -> Listing:
        base = capabilities.base_url
        authorization = check.authorization if same_origin(check.url, base) else None
        body = ls_refs_request(capabilities, check.prefixes)
        headers = _headers("application/x-git-upload-pack-result", authorization)
        headers.append((b"Content-Type", b"application/x-git-upload-pack-request"))
        response = await self._exchange.ask(base + "/git-upload-pack", headers, body, seconds=self._timeouts.check)
        parser = LsRefsParser(capabilities.object_format, check.before)
        await self._read(base, response, "application/x-git-upload-pack-result", parser)
        return parser.result()

    async def _read(self, url: str, response: IResponse, media_type: str, parser: _Parser) -> None:
        source = self._exchange.body_of(url, response)
        try:
            received = raw(response.headers)
            await _require_success(url, response.code, received, source)
            if http.media_type(received) != media_type:
                raise MalformedListing(f"its content type is {http.media_type(received)[:80] or 'missing'!r}")
            plain = GunzipSource(source) if http.first(received, b"content-encoding") == b"gzip" else source
            await _parse(plain, parser, self._listing_limit)
        finally:
            source.close()

    # forwarding

    async def forward(
        self,
        method: bytes,
        url: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: Source | None = None,
        length: int | None = None,
        *,
        first_byte_timeout: float | None = None,
    ) -> UpstreamResponse:
        """Pass a client's request on, as it is, and return the response while its body is still coming.

        :param method: the method.
        :param url: the URL at the upstream, operation and query included.
        :param headers: the client's headers; those that must not travel are taken out.
        :param body: the request's body; closed when it has been sent or the request failed.
        :param length: the body's length in bytes; None sends it chunked.
        :param first_byte_timeout: seconds, instead of ``timeouts.first_byte``.
        :raise UpstreamUnreachable: when there is no answer, or a redirect that can't be followed.
        :raise UpstreamTimeout: when the answer does not begin in time.
        """
        seconds = self._timeouts.first_byte if first_byte_timeout is None else first_byte_timeout
        kept = http.for_upstream(headers)
        base, operation = split_operation(url)
        if method == b"GET" and operation.startswith("/info/refs"):
            response, final = await self._exchange.get_following(url, kept, seconds=seconds)
            self._moves.note(base, _authorization(kept), split_operation(final)[0])
        else:
            final = self._moves.resolve(base, _authorization(kept)) + operation
            kept = kept if same_origin(url, final) else without_credentials(kept)
            response = await self._exchange.pass_on(method, final, kept, body, length, seconds=seconds)
        source = self._exchange.body_of(base, response)
        received = raw(response.headers)
        return UpstreamResponse(
            response.code, http.for_client(received), source, _length(method, response, received), final
        )


    # storages

    def may_hold(self, href: str, *, home: str) -> bool:
        """Say whether a download may be fetched from where an upstream says that it is.

        :param home: the repository's URL.
        """
        return may_hold(href, home=home, hosts=self._hosts)

    async def download(self, href: str, headers: Sequence[tuple[bytes, bytes]], *, home: str) -> UpstreamResponse:
        """Get a whole object from where an upstream says that it is.

        :param href: where; :meth:`may_hold` it.
        :param headers: what the upstream says that its storage wants to see.
        :param home: the repository's URL.
        :return: a response of status 200.
        :raise UpstreamRefused: when the repository's own place refuses it, or another says that it isn't there.
        :raise UpstreamError: when it isn't to be had otherwise.
        """
        shown = [(name, value) for name, value in http.for_upstream(headers) if name.lower() not in _STORAGE_OWN]
        own = [(b"User-Agent", AGENT.encode()), (b"Accept-Encoding", b"identity")]
        response, final = await self._exchange.download(
            href,
            [*shown, *own],
            seconds=self._timeouts.first_byte,
            follow=lambda url, to: follow_storage(current=url, location=to, home=home, hosts=self._hosts),
        )
        name, received = name_of(final), raw(response.headers)
        source = self._exchange.body_of(name, response)
        try:
            await _require_object(name, response.code, received, source, own=same_origin(final, home))
        except BaseException:
            source.close()
            raise
        length = _length(b"GET", response, received)
        return UpstreamResponse(response.code, http.for_client(received), source, length, name)


async def _require_object(name: str, status: int, headers: http.RawHeaders, source: Source, *, own: bool) -> None:
    if status == 200 and http.first(headers, b"content-encoding") in (None, b"identity"):
        return
    if status == 429 or status >= 500:
        raise UpstreamBusy(name, f"answered {status}", status=status, retry_after=http.retry_after(headers))
    if status in (404, 410) or (own and 400 <= status < 500):
        # A storage elsewhere has no say in which credentials a client shows here.
        raise UpstreamRefused(name, status=status, headers=http.of_refusal(headers) if own else ())
    raise UpstreamUnreachable(name, f"answered {status} to a download")


async def _require_success(url: str, status: int, headers: http.RawHeaders, source: Source) -> None:
    if status == 200:
        return
    wait = http.retry_after(headers)
    if status == 429 or status >= 500 or (status == 403 and wait is not None):
        raise UpstreamBusy(url, f"answered {status}", status=status, retry_after=wait)
    if not 400 <= status < 500 or status == 408:
        raise UpstreamUnreachable(url, f"answered {status} to a ref check")
    text = await _start_of(source, _REFUSAL_TEXT)
    encoded = http.first(headers, b"content-encoding") is not None
    raise UpstreamRefused(url, status=status, headers=http.of_refusal(headers), body=b"" if encoded else text)


async def _start_of(source: Source, limit: int) -> bytes:
    text = b""
    while len(text) < limit and (piece := await source.read(limit - len(text))):
        text += piece
    return text


async def _parse(source: Source, parser: _Parser, limit: int) -> None:
    decoder, total = Decoder(), 0
    while piece := await source.read(PIECE):
        total += len(piece)
        if total > limit:
            raise TooLarge(limit, "its ref listing")
        try:
            for packet in decoder.feed(piece):
                parser.take(packet)
        except BadRequest as failure:
            raise MalformedListing(str(failure)) from failure
    if decoder.rest:
        raise MalformedListing("it broke off within a packet")


def _headers(accept: str, authorization: str | None) -> http.RawHeaders:
    sent = [
        (b"User-Agent", AGENT.encode()),
        (b"Accept", accept.encode()),
        (b"Accept-Encoding", b"gzip"),
        (b"Git-Protocol", b"version=2"),
    ]
    if authorization is not None:
        sent.append((b"Authorization", authorization.encode("latin-1")))
    return sent


def _authorization(headers: http.RawHeaders) -> str | None:
    value = http.first(headers, b"authorization")
    return None if value is None else value.decode("latin-1")


def _length(method: bytes, response: IResponse, headers: http.RawHeaders) -> int | None:
    if method == b"HEAD":
        announced = http.first(headers, b"content-length") or b""
        return int(announced) if announced.isdigit() else None
    return response.length if isinstance(response.length, int) else None
