"""Sending a client's request on, in the spelling that its upstream answers, to where the repository has moved.

While it isn't known whether a repository's name is written with ``.git``, a request that its upstream doesn't know is
sent once more with the other spelling. That takes a body that can be sent twice: a small one is held, and before a
large one the upstream is asked for refs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from twisted.web.iweb import IResponse

from cachew.plumbing.errors import UpstreamError, UpstreamRedirected
from cachew.plumbing.streams import BytesSource, Source, read_all
from cachew.upstream import headers as http
from cachew.upstream.exchange import Exchange, raw
from cachew.upstream.redirects import Moves, Redirects, split_operation
from cachew.upstream.spellings import Kind, Spellings, base_of

_HELD = 1024 * 1024
"""The largest body that is held, in bytes."""
_NOT_HERE = (404, 405, 410)
_ABOUT_SOMETHING_ELSE = (401, 403, 429)
_AS_IT_IS = (b"Accept-Encoding", b"identity")
"""What is passed on is neither inflated nor deflated for it."""


Send = Callable[[str], Awaitable[tuple[IResponse, str]]]
"""Sends a request to a place, and gives the response and the URL that gave it."""


@dataclass(frozen=True)
class Forwarded:
    """A request that is passed on.

    :param method: the method.
    :param url: the URL at the upstream without ``.git``, operation and query included.
    :param headers: the client's; those that must not travel are taken out.
    :param body: the body, None for none.
    :param length: the body's length in bytes; None sends it chunked.
    :param credential: what to prove oneself with, see :mod:`cachew.upstream.presented_credential`.
    :param written: how the client has spelled the repository: ``.git``, or nothing.
    :param seconds: how long the answer is waited for.
    """

    method: bytes
    url: str
    headers: Sequence[tuple[bytes, bytes]]
    body: Source | None
    length: int | None
    credential: str | None = field(repr=False)
    written: str
    seconds: float

    @property
    def base(self) -> str:
        """The repository's URL."""
        return split_operation(self.url)[0]

    @property
    def operation(self) -> str:
        """What comes after it."""
        return split_operation(self.url)[1]

    @property
    def kind(self) -> Kind:
        """What answers it."""
        return "lfs" if self.operation.startswith("/info/lfs/") else "git"


class Forwarding:
    """Sends requests on.

    :param exchange: sends requests.
    :param redirects: says what is shown where a redirect has led.
    :param moves: where repositories have moved.
    :param spellings: how they are spelled.
    """

    def __init__(self, *, exchange: Exchange, redirects: Redirects, moves: Moves, spellings: Spellings) -> None:
        self._exchange = exchange
        self._redirects = redirects
        self._moves = moves
        self._spellings = spellings

    async def send(self, asked: Forwarded) -> tuple[IResponse, str]:
        """Send one, and return the response and the URL that gave it.

        :raise UpstreamUnreachable: when there is none, or a redirect that can't be followed.
        :raise UpstreamTimeout: when it does not begin in time.
        """
        try:
            return await self._send(asked)
        except BaseException:
            if asked.body is not None:
                asked.body.close()
            raise

    async def _send(self, asked: Forwarded) -> tuple[IResponse, str]:
        if asked.method == b"GET" and asked.operation.startswith("/info/refs"):
            return await self._refs(asked)
        if asked.body is None:
            return await self._followed(asked, None)
        if asked.length is None or asked.length > _HELD:
            return await self._where_it_is(asked, asked.body)
        return await self._followed(asked, await _all_of(asked.body))

    async def _followed(self, asked: Forwarded, held: bytes | None) -> tuple[IResponse, str]:
        """Send a request that can be sent twice; where it is redirected, to where `info/refs` leads."""
        before = self._moves.resolve(asked.base, asked.credential)
        try:
            return await self._where_it_is(asked, _source_of(held))
        except UpstreamRedirected:
            await self._ask_for_refs(asked)
            moved = self._moves.resolve(asked.base, asked.credential)
            if moved in (asked.base, before):
                raise
        return await self._at(asked, moved, _source_of(held))

    async def _where_it_is(self, asked: Forwarded, body: Source | None) -> tuple[IResponse, str]:
        """Send a request to where the repository is known to be."""
        moved = self._moves.resolve(asked.base, asked.credential)
        if moved != asked.base:
            return await self._at(asked, moved, body)
        if not self._spellings.knows(asked.base, asked.kind):
            await self._spellings.look(asked.base)
        if self._spellings.knows(asked.base, asked.kind):
            return await self._at(asked, self._candidates(asked)[0], body)
        return await self._found_out(asked, body)

    def _candidates(self, asked: Forwarded) -> list[str]:
        suffixes = self._spellings.of(asked.base, asked.kind, asked.written)
        return [asked.base + suffix for suffix in suffixes]

    async def _refs(self, asked: Forwarded) -> tuple[IResponse, str]:
        headers = [*http.for_upstream(asked.headers), _AS_IT_IS]

        async def at(place: str) -> tuple[IResponse, str]:
            return await self._exchange.get_following(
                place + asked.operation, headers, asked.credential, seconds=asked.seconds
            )

        response, final = await self._either(self._candidates(asked), at)
        self._note(asked, response, split_operation(final)[0])
        return response, final

    async def _either(self, places: Sequence[str], at: Send) -> tuple[IResponse, str]:
        """Send a request to the first place and, if it seems to be the wrong one, to the second.

        :return: what the second answered, unless that seems to be the wrong one too.
        """
        if len(places) == 1:
            return await at(places[0])
        try:
            first = await at(places[0])
        except UpstreamRedirected as redirected:
            try:
                return await at(places[1])
            except UpstreamError:
                raise redirected from None
        if not _is_elsewhere(first[0]):
            return first
        try:
            second = await at(places[1])
        except UpstreamError:
            return first
        except BaseException:
            self._exchange.discard(first[1], first[0])
            raise
        taken, given_up = (first, second) if _is_worse(second[0], first[0]) else (second, first)
        self._exchange.discard(given_up[1], given_up[0])
        return taken

    def _note(self, asked: Forwarded, response: IResponse, final: str) -> None:
        base, suffix = base_of(final)
        at_home = base == base_of(asked.base)[0]
        self._moves.note(asked.base, asked.credential, asked.base if at_home else final)
        if at_home and response.code == 200 and not _is_elsewhere(response):
            self._spellings.learn(asked.base, asked.kind, suffix)

    async def _found_out(self, asked: Forwarded, body: Source | None) -> tuple[IResponse, str]:
        """Send a request whose spelling is not known."""
        if body is not None and (asked.length is None or asked.length > _HELD):
            await self._ask_for_refs(asked)
            # That may have led to where the repository has moved.
            moved = self._moves.resolve(asked.base, asked.credential)
            return await self._at(asked, self._candidates(asked)[0] if moved == asked.base else moved, body)
        held = None if body is None else await _all_of(body)

        async def at(place: str) -> tuple[IResponse, str]:
            return await self._at(asked, place, _source_of(held))

        response, final = await self._either(self._candidates(asked), at)
        if 200 <= response.code < 300 and not _is_elsewhere(response):
            self._spellings.learn(asked.base, asked.kind, base_of(split_operation(final)[0])[1])
        return response, final

    async def _ask_for_refs(self, asked: Forwarded) -> None:
        service = "git-receive-pack" if asked.operation == "/git-receive-pack" else "git-upload-pack"
        question = Forwarded(
            b"GET",
            f"{asked.base}/info/refs?service={service}",
            [header for header in asked.headers if header[0].lower() == b"user-agent"],
            None,
            None,
            asked.credential,
            asked.written,
            asked.seconds,
        )
        try:
            response, final = await self._refs(question)
        except UpstreamError:
            return  # the request itself will meet with the same
        self._exchange.discard(final, response)

    async def _at(self, asked: Forwarded, place: str, body: Source | None) -> tuple[IResponse, str]:
        final = place + asked.operation
        headers = [*http.for_upstream(asked.headers), _AS_IT_IS]
        shown = asked.credential
        if base_of(place)[0] != base_of(asked.base)[0]:
            shown = self._redirects.shown(shown, asked.url, final)
        headers += http.of_credential(shown)
        response = await self._exchange.pass_on(asked.method, final, headers, body, asked.length, seconds=asked.seconds)
        return response, final


def _source_of(held: bytes | None) -> Source | None:
    return None if held is None else BytesSource(held)


async def _all_of(body: Source) -> bytes:
    try:
        return await read_all(body, _HELD)
    finally:
        body.close()


def _is_elsewhere(response: IResponse) -> bool:
    """Whether an upstream may have answered because it doesn't know a spelling."""
    if response.code in _NOT_HERE:
        return True
    return _is_page(response) and response.code < 500 and response.code not in _ABOUT_SOMETHING_ELSE


def _is_worse(second: IResponse, first: IResponse) -> bool:
    """Whether a second answer is no better than the first, which doesn't know the repository."""
    if second.code >= 500:
        return True
    return _is_elsewhere(second) and _says(second) <= _says(first)


def _says(response: IResponse) -> int:
    """Return how much an answer says to a program."""
    return 0 if _is_page(response) else 1 if response.length == 0 else 2


def _is_page(response: IResponse) -> bool:
    return http.is_for_people(raw(response.headers))
