"""Asking upstreams for their refs and passing requests on to them.

A ref check is one small request over a kept connection and never takes longer than it is allowed to. A forwarded
request streams both ways; nothing of it is held here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse

from cachew.plumbing.errors import UpstreamBusy, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource, Source
from cachew.upstream import headers as http
from cachew.upstream.agent import Agents
from cachew.upstream.backoff import Backoff
from cachew.upstream.challenges import EXPLANATION, EXPLANATION_HEADERS, has_only_bound
from cachew.upstream.decoding import codings_of
from cachew.upstream.exchange import Exchange, raw
from cachew.upstream.forwarding import Forwarded, Forwarding
from cachew.upstream.listing import Capabilities, Listing
from cachew.upstream.redirects import Moves, Redirects, same_origin, split_operation
from cachew.upstream.refcheck import RefCheck, RefChecks
from cachew.upstream.spellings import Spellings
from cachew.upstream.storage import follow_storage, may_hold, name_of

_AS_IT_IS = (b"Accept-Encoding", b"identity")
"""What is passed on is neither inflated nor deflated for it."""


@dataclass(frozen=True)
class UpstreamBounds:
    """How long upstreams are waited for, in seconds, and how much is read of them.

    :param connect: for a connection.
    :param check: for a whole ref check.
    :param first_byte: for the head of a forwarded request's response, once the request has been sent.
    :param idle: for the next piece of a response.
    :param listing: the largest ref listing, in bytes after decompression.
    """

    connect: float = 10.0
    check: float = 10.0
    first_byte: float = 60.0
    idle: float = 60.0
    listing: int = 256 * 1024 * 1024


@dataclass(frozen=True)
class UpstreamResponse:
    """The response to a forwarded request.

    :param status: its status.
    :param headers: those that the client may see, without the length.
    :param source: its body without any content encoding; whoever gets it closes it.
    :param length: the length of the body in bytes, None when unknown; for HEAD that of the body it stands for.
    :param url: where it came from in the end.
    """

    status: int
    headers: http.RawHeaders
    source: Source
    length: int | None
    url: str


class UpstreamClient:
    """Talks git's HTTP to upstreams.

    :param reactor: where time comes from.
    :param agents: how requests are sent.
    :param redirects: judges where upstreams redirect to.
    :param spellings: how upstreams want repositories to be spelled.
    :param backoff: says when an upstream is to be left alone.
    :param metrics: counts requests.
    :param bounds: how long upstreams are waited for, and how much is read of them.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        agents: Agents,
        redirects: Redirects,
        spellings: Spellings,
        backoff: Backoff,
        metrics: Metrics,
        bounds: UpstreamBounds = UpstreamBounds(),
    ) -> None:
        self._reactor = reactor
        self._backoff = backoff
        self._bounds = bounds
        self._redirects = redirects
        self._exchange = Exchange(
            reactor=reactor,
            agents=agents,
            redirects=redirects,
            metrics=metrics,
            idle=bounds.idle,
            label=redirects.hosts.label,
        )
        moves = Moves()
        self._checks = RefChecks(
            exchange=self._exchange,
            redirects=redirects,
            moves=moves,
            spellings=spellings,
            seconds=bounds.check,
            limit=bounds.listing,
        )
        self._forwarding = Forwarding(exchange=self._exchange, redirects=redirects, moves=moves, spellings=spellings)

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
        :param prefixes: prefixes that bound the listing; None for all refs, and no prefix for none where it speaks v2.
        :param authorization: the ``Authorization`` to send.
        :param known: what an earlier call returned, which saves a request with upstreams that speak v2.
        :param before: an earlier listing, most of which may come again; it costs less to read then.
        :return: the listing, and what to pass as ``known`` next time.
        :raise UpstreamRefused: when it answers 401, 403, 404, 410 or 451.
        :raise UpstreamBusy: when it answers 429 or 5xx, or has done so and is still to be left alone.
        :raise UpstreamUnreachable: when there is no answer, or none that is git's.
        :raise UpstreamTimeout: when it takes longer than ``bounds.check``.
        """
        scope = (url, sha256((authorization or "").encode("utf-8", "surrogateescape")).digest())
        self._backoff.check(scope, url)
        work = Deferred.fromCoroutine(self._checks.run(RefCheck(url, prefixes, authorization, known, before)))
        try:
            result = await work.addTimeout(self._bounds.check, self._reactor, lambda *_: self._too_slow(url))
        except UpstreamBusy as busy:
            self._backoff.busy(scope, status=busy.status, retry_after=busy.retry_after)
            raise
        self._backoff.well(scope)
        return result

    def _too_slow(self, url: str) -> NoReturn:
        self._exchange.timed_out(url)
        raise UpstreamTimeout(url, f"did not answer a ref check within {self._bounds.check:.0f} seconds")

    # forwarding

    async def forward(
        self,
        method: bytes,
        url: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: Source | None = None,
        length: int | None = None,
        *,
        credential: str | None = None,
        written: str = "",
    ) -> UpstreamResponse:
        """Pass a client's request on, as it is, and return the response while its body is still coming.

        :param method: the method.
        :param url: the URL at the upstream without ``.git``, operation and query included.
        :param headers: the client's headers; those that must not travel are taken out.
        :param body: the request's body; closed when it has been sent or the request failed.
        :param length: the body's length in bytes; None sends it chunked.
        :param credential: what to prove oneself with, see :mod:`cachew.upstream.presented_credential`.
        :param written: how the client has spelled the repository: ``.git``, or nothing.
        :raise UpstreamUnreachable: when there is no answer, or a redirect that can't be followed.
        :raise UpstreamTimeout: when the answer does not begin in time.
        """
        seconds = self._bounds.first_byte
        base = split_operation(url)[0]
        response, final = await self._forwarding.send(
            Forwarded(method, url, headers, body, length, credential, written, seconds)
        )
        received = raw(response.headers)
        if response.code == HTTPStatus.UNAUTHORIZED and has_only_bound(received):
            self._exchange.discard(base, response)
            told = list(EXPLANATION_HEADERS), BytesSource(EXPLANATION), len(EXPLANATION)
            return UpstreamResponse(HTTPStatus.FORBIDDEN, *told, final)
        source = self._exchange.body_of(base, response)
        return UpstreamResponse(
            response.code, http.for_client(received), source, _length(method, response, received), final
        )

    # storages

    def may_hold(self, href: str, *, home: str) -> bool:
        """Say whether a download may be fetched from where an upstream says that it is.

        :param home: the repository's URL.
        """
        return may_hold(href, home=home, redirects=self._redirects)

    async def download(
        self, href: str, headers: Sequence[tuple[bytes, bytes]], *, home: str, credential: str | None = None
    ) -> UpstreamResponse:
        """Get a whole object from where an upstream says that it is.

        :param href: where; :meth:`may_hold` it.
        :param headers: what the upstream says that its storage wants to see.
        :param home: the repository's URL.
        :param credential: what its upstream is shown of, where that may be seen and its storage wants nothing else.
        :return: a response of status 200.
        :raise UpstreamRefused: when the repository's own place refuses it, or another says that it isn't there.
        :raise UpstreamError: when it isn't to be had otherwise.
        """
        if http.first(headers, b"authorization") is not None:
            credential = None
        response, final = await self._exchange.download(
            href,
            [*http.for_storage(headers), _AS_IT_IS],
            self._redirects.shown(credential, home, href),
            seconds=self._bounds.first_byte,
            follow=lambda url, to: follow_storage(current=url, location=to, home=home, redirects=self._redirects),
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
    if status == 200:
        return
    if status == 429 or status >= 500:
        raise UpstreamBusy(name, f"answered {status}", status=status, retry_after=http.retry_after(headers))
    if status in (404, 410) or (own and 400 <= status < 500):
        # A storage elsewhere has no say in which credentials a client shows here.
        raise UpstreamRefused(name, status=status, headers=http.of_refusal(headers) if own else ())
    raise UpstreamUnreachable(name, f"answered {status} to a download")


def _length(method: bytes, response: IResponse, headers: http.RawHeaders) -> int | None:
    if http.first(headers, b"content-encoding") is not None and codings_of(headers):
        return None
    if method == b"HEAD":
        announced = http.first(headers, b"content-length") or b""
        return int(announced) if announced.isdigit() else None
    return response.length if isinstance(response.length, int) else None
