"""One ref check: what an upstream is asked for its refs, and what it may answer.

An upstream that is known to speak protocol v2 is asked for them at once, any other first for what it speaks.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from twisted.web.iweb import IResponse

from cachew.plumbing.errors import (
    BadRequest,
    TooLarge,
    UpstreamError,
    UpstreamNotGit,
    UpstreamRedirected,
    UpstreamRefused,
    UpstreamUnreachable,
)
from cachew.plumbing.pktline import Decoder
from cachew.plumbing.streams import PIECE, Source, read_start
from cachew.upstream import headers as http
from cachew.upstream.advertisement import AdvertisementParser
from cachew.upstream.connectionfailures import explain_answer
from cachew.upstream.dumblisting import DUMB, DumbRefsReader
from cachew.upstream.exchange import Exchange, raw
from cachew.upstream.listing import (
    Capabilities,
    Listing,
    MalformedListing,
    NotGit,
    RemoteError,
    ls_refs_request,
)
from cachew.upstream.redirects import CODES, Moves, Redirects, split_operation
from cachew.upstream.refstream import LsRefsReader
from cachew.upstream.refusals import failure_of
from cachew.upstream.spellings import Spellings, base_of

_GONE = (404, 410)
_OUTDATED = (HTTPStatus.FORBIDDEN, *_GONE, 405, 501)
"""The answers to a question for refs where what is known of an upstream may hold no longer.

The repository has moved, or a server of files is there now, which knows of no such request or forbids it, in words or
with a page.
"""
_REFUSAL_TEXT = 4096
_INFO_REFS = "/info/refs?service=git-upload-pack"
_ADVERTISEMENT = "application/x-git-upload-pack-advertisement"
_PLAIN = (b"Accept-Encoding", b"gzip")
_FRESH = (b"Pragma", b"no-cache")
"""What git shows to caches on the way where it wants to know what there is now."""


Feed = Callable[[bytes], object]
"""Takes the pieces of a response as they come."""


@dataclass(frozen=True)
class RefCheck:
    """What one ref check asks; see :meth:`cachew.upstream.client.UpstreamClient.list_refs`."""

    url: str
    prefixes: Sequence[str] | None
    authorization: str | None = field(repr=False)
    known: Capabilities | None
    before: Listing | None


class RefChecks:
    """Makes ref checks.

    :param exchange: sends requests.
    :param redirects: says what is shown where a redirect has led.
    :param moves: where repositories have moved, which is noted here.
    :param spellings: how they are spelled, which is noted too.
    :param seconds: how long each request may take to be answered.
    :param limit: the largest ref listing, in bytes after decompression.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        redirects: Redirects,
        moves: Moves,
        spellings: Spellings,
        seconds: float,
        limit: int,
    ) -> None:
        self._exchange = exchange
        self._redirects = redirects
        self._moves = moves
        self._spellings = spellings
        self._seconds, self._limit = seconds, limit

    async def run(self, check: RefCheck) -> tuple[Listing, Capabilities]:
        """Make one.

        :return: the listing, and what the upstream speaks.
        :raise UpstreamError: when it refuses, is busy, or doesn't answer as git does.
        """
        first: UpstreamError | None = None
        for suffix in self._spellings.of(check.url):
            try:
                listing, capabilities = await self._explained(replace(check, url=check.url + suffix))
            except UpstreamError as failure:
                if first is not None:
                    # What is forbidden exists.
                    raise failure if _forbids(failure) else first from None
                if not _is_elsewhere(failure):
                    raise
                first = failure
            else:
                self._note(check, capabilities.base_url)
                return listing.filtered(check.prefixes), capabilities
        assert first is not None
        raise first

    def _note(self, check: RefCheck, base: str) -> None:
        at, suffix = base_of(base)
        if at == base_of(check.url)[0]:
            self._spellings.learn(check.url, "git", suffix)

    async def _explained(self, check: RefCheck) -> tuple[Listing, Capabilities]:
        try:
            return await self._list(check)
        except (MalformedListing, RemoteError) as failure:
            raise explain_answer(check.url, failure) from failure
        except TooLarge as failure:
            raise UpstreamUnreachable(check.url, str(failure)) from failure

    async def _list(self, check: RefCheck) -> tuple[Listing, Capabilities]:
        known = None if _asks_for_none(check) else check.known
        # A known redirect is no shortcut: it may have been meant only for whoever was redirected.
        if known is not None and known.protocol == 2 and known.base_url == check.url:
            # When that fails the upstream may have changed since, or the repository has moved: it is asked what it
            # speaks now, which may be answered by saying where that is.
            with suppress(MalformedListing):
                return await self._ls_refs(check, known, outdated=_OUTDATED), known
        capabilities, listing = await self._discover(check.url, check.authorization)
        if listing is None and _asks_for_none(check):
            listing = Listing((), capabilities.object_format)
        elif listing is None:
            listing = await self._ls_refs(check, capabilities)
        return listing, capabilities

    async def _discover(self, url: str, authorization: str | None) -> tuple[Capabilities, Listing | None]:
        response, final = await self._exchange.get_following(
            url + _INFO_REFS,
            [*_headers("*/*"), _FRESH],
            authorization,
            seconds=self._seconds,
        )
        base = split_operation(final)[0]
        asked, moved = base_of(url)[0], base_of(base)[0]
        self._moves.note(asked, authorization, asked if moved == asked else base)
        said = http.media_type(raw(response.headers))
        if said != _ADVERTISEMENT:
            return await self._dumb(url, base, response, authorization)
        parser, decoder = AdvertisementParser(), Decoder()

        def feed(piece: bytes) -> None:
            for packet in decoder.feed(piece):
                parser.take(packet)

        await self._read(url, response, feed)
        if decoder.rest:
            raise MalformedListing("it broke off within a packet")
        capabilities, listing = parser.result()
        if listing is None and "ls-refs" not in capabilities.features:
            raise MalformedListing("it speaks protocol v2 without ls-refs")
        return replace(capabilities, base_url=base), listing

    async def _dumb(
        self, url: str, base: str, response: IResponse, authorization: str | None
    ) -> tuple[Capabilities, Listing]:
        """Read what names the refs of a repository served as files; git does so whenever the type isn't its own."""
        reader = DumbRefsReader(http.media_type(raw(response.headers)))
        await self._read(url, response, reader.feed)
        reader.refs()
        head = await self._head(base, self._redirects.shown(authorization, url, base))
        return replace(DUMB, base_url=base), reader.listing(head)

    async def _head(self, base: str, authorization: str | None) -> bytes:
        """Return a repository's ``HEAD``, nothing where there is none, or it isn't told as git would take it.

        :raise UpstreamBusy: when it may be there, but isn't told now: without it everybody's default branch would go.
        """
        headers = [_PLAIN, _FRESH, *http.of_credential(authorization)]
        try:
            response = await self._exchange.pass_on(b"GET", base + "/HEAD", headers, None, None, seconds=self._seconds)
        except UpstreamRedirected:
            return b""
        if response.code == HTTPStatus.OK:
            return await read_start(self._exchange.body_of(base, response), _REFUSAL_TEXT)
        self._exchange.discard(base, response)
        if response.code == HTTPStatus.TOO_MANY_REQUESTS or response.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise failure_of(base, response.code, raw(response.headers), b"")
        return b""

    async def _ls_refs(self, check: RefCheck, capabilities: Capabilities, *, outdated: Sequence[int] = ()) -> Listing:
        """Ask for refs.

        :param outdated: by which answers it is told that the upstream no longer speaks so.
        :raise MalformedListing: when it says anything else than refs.
        """
        base = capabilities.base_url
        authorization = self._redirects.shown(check.authorization, check.url, base)
        body = ls_refs_request(capabilities, check.prefixes)
        headers = [
            *_headers("application/x-git-upload-pack-result"),
            (b"Content-Type", b"application/x-git-upload-pack-request"),
            *http.of_credential(authorization),
        ]
        response = await self._exchange.ask(base + "/git-upload-pack", headers, body, seconds=self._seconds)
        if response.code in outdated:
            self._exchange.discard(base, response)
            raise MalformedListing(f"answered {response.code} to a question for refs")
        reader = LsRefsReader(capabilities.object_format, check.before)
        # Only of an advertisement git's clients ask that its type is right: it tells smart servers from others.
        await self._read(base, response, reader.feed)
        try:
            reader.finish()
            while reader.behind:
                await self._exchange.turn()
                reader.catch_up()
            return reader.result()
        except BadRequest as failure:
            raise MalformedListing(str(failure)) from failure

    async def _read(self, url: str, response: IResponse, feed: Feed) -> None:
        source = self._exchange.body_of(url, response)
        try:
            received = raw(response.headers)
            await _require_success(url, response.code, received, source)
            said = http.media_type(received)
            if http.is_for_people(received):
                raise NotGit(f"its content type is {said[:80] or 'missing'!r}")
            await _parse(source, feed, self._limit)
        finally:
            source.close()


def _asks_for_none(check: RefCheck) -> bool:
    """Whether nobody wants to see any refs, but to know whether the upstream lets them be read."""
    return check.prefixes is not None and not check.prefixes


def _is_elsewhere(failure: UpstreamError) -> bool:
    """Whether an upstream may have answered because it doesn't know a spelling."""
    if isinstance(failure, UpstreamRefused):
        return failure.status in _GONE
    return isinstance(failure, (UpstreamRedirected, UpstreamNotGit))


def _forbids(failure: UpstreamError) -> bool:
    return isinstance(failure, UpstreamRefused) and failure.status not in _GONE


async def _require_success(url: str, status: int, headers: http.RawHeaders, source: Source) -> None:
    if status == 200:
        return
    if status in CODES:
        raise MalformedListing(f"answered {status} to what can't be redirected")
    raise failure_of(url, status, headers, await read_start(source, _REFUSAL_TEXT))


async def _parse(source: Source, feed: Feed, limit: int) -> None:
    total = 0
    while piece := await source.read(PIECE):
        total += len(piece)
        if total > limit:
            raise TooLarge(limit, "its ref listing")
        try:
            feed(piece)
        except BadRequest as failure:
            raise MalformedListing(str(failure)) from failure


def _headers(accept: str) -> http.RawHeaders:
    return [
        (b"Accept", accept.encode()),
        _PLAIN,
        (b"Git-Protocol", b"version=2"),
    ]
