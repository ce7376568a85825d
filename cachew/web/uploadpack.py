"""Clones and fetches: ``git-upload-pack``.

A command is read, and answered out of memory or with a kept pack where that can be; other fetches are for
``fetchanswers.py``.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from cachew.http.incoming import Body, HeldBody
from cachew.http.requests import StreamingRequest
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MANY_REFS
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UnsupportedMediaType
from cachew.plumbing.jobs import Slots
from cachew.smarthttp import wantedrefs
from cachew.smarthttp.clientcommands import Fetch, GitCommand, V2Fetch
from cachew.smarthttp.request import read_command
from cachew.upstream.listing import Listing
from cachew.web.access.guard import Right
from cachew.web.packs import Packs
from cachew.web.reflistings import RefListings

_REQUEST = "application/x-git-upload-pack-request"
_SHORT = 256 * 1024
"""Bytes of a request above which reading it takes long enough to hold others up."""
_LONG_AT_A_TIME = 2
_LIKE_OTHERS = 2 * 1024
"""Bytes of a request up to which others are likely to send the very same."""
_REMEMBERED = 500
_MOMENT = 10.0
_MOST_REFS = 200_000
"""In all of the listings that nobody else has any more: some 60 MB."""
_OF_A_LISTING = 10
"""Refs that take as much room as what a listing takes besides."""


class CommandReader:
    """Reads what clients ask for; what many ask in the same words is read once.

    :param limit: the most bytes of an inflated request body.
    :param in_thread: for reading long ones.
    """

    def __init__(self, *, limit: int, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._limit = limit
        self._in_thread = in_thread
        self._long = Slots(limit=_LONG_AT_A_TIME)
        self._known: OrderedDict[tuple[bytes, str | None], GitCommand] = OrderedDict()

    async def read(self, request: StreamingRequest, identity: Identity) -> tuple[Body, GitCommand]:
        """Return a request's body, and what it says.

        :raise UnsupportedMediaType: when it is sent as something that browsers post for pages of other sites.
        :raise CachewError: whatever is wrong with the body.
        """
        encoding = request.getHeader("content-encoding")
        _require_media_type(request.getHeader("content-type"))
        body = await request.collect(self._limit, encoding=encoding)
        return body, await self.parsed(request, identity, body)

    async def parsed(self, request: StreamingRequest, identity: Identity, body: Body) -> GitCommand:
        """Return what a body says.

        :raise BadRequest: when it is malformed.
        """
        protocol = request.getHeader("git-protocol")
        if body.size <= _LIKE_OTHERS:
            said = b"".join(body.pieces()), protocol
            if said not in self._known:
                self._known[said] = read_command(said[:1], protocol)
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(said)
            return self._known[said]
        if body.size <= _SHORT:
            return read_command(body.pieces(), protocol)
        async with self._long.take(identity.name):
            command: GitCommand = await self._in_thread(read_command, body.pieces(), protocol)
            return command

    async def resolved(
        self, body: Body, wanted: Sequence[str], listing: Listing, besides: Sequence[str]
    ) -> tuple[Body, bytes]:
        """Return a request with what the refs are that it wants by their names, and what the answer says of them.

        :param besides: objects that are wanted besides.
        :raise UnknownRef: when one of them is not listed.
        """
        if body.size <= _SHORT:
            return _resolved(body, wanted, listing, besides)
        made: tuple[Body, bytes] = await self._in_thread(_resolved, body, wanted, listing, besides)
        return made


def _resolved(body: Body, wanted: Sequence[str], listing: Listing, besides: Sequence[str]) -> tuple[Body, bytes]:
    data, section = wantedrefs.resolved(body.pieces(), wanted, listing, besides)
    return HeldBody(data, digest=hashlib.sha256(data).hexdigest()), section


def _require_media_type(given: str | None) -> None:
    """Refuse what is sent as something else: pages of other sites can have browsers post text, and nothing of git's.

    :raise UnsupportedMediaType: then.
    """
    if given is not None and given.partition(";")[0].strip().lower() != _REQUEST:
        raise UnsupportedMediaType(f"a request to git-upload-pack has the content type {_REQUEST}")


class _Told(NamedTuple):
    """What a client was told.

    :param name: the repository's.
    :param until: when that is forgotten, in monotonic seconds.
    :param listing: its refs.
    """

    name: str
    until: float
    listing: ref[Listing]


class ToldListings:
    """Remembers for some seconds what clients were told last that refs are.

    Git asks for refs by their names (``ref-in-want``) when it has been told of them, but goes by what it was told: a
    clone puts its branch where the listing had it, and a fetch checks that this has come. When a ref has moved in
    between, the object that it was told of is sent as well, as a host would that is asked by ids. Git does both over
    one connection; what others behind the same address were told is no matter of its.

    :param clock: tells how long ago that was.
    :param client_of: tells a request's client, for what else concerns it.
    """

    def __init__(self, *, clock: Clock, client_of: Callable[[Any], str]) -> None:
        self._clock = clock
        self.client_of = client_of
        self._told: WeakKeyDictionary[Any, _Told] = WeakKeyDictionary()
        self._kept: OrderedDict[int, tuple[float, Listing]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._told)

    def note(self, connection: Any, identity: Identity, listing: Listing) -> None:
        """Take note of a listing that was told over a connection, unless it is very long.

        :param connection: None when that is gone.
        """
        if connection is None or len(listing.refs) > MANY_REFS:
            return
        until = self._clock.seconds() + _MOMENT
        self._keep(listing, until)
        self._told[connection] = _Told(identity.name, until, ref(listing))

    def _keep(self, listing: Listing, until: float) -> None:
        if self._kept.pop(id(listing), None) is None:
            self._weight += len(listing.refs) + _OF_A_LISTING
        self._kept[id(listing)] = until, listing
        while True:
            key, (end, oldest) = next(iter(self._kept.items()))
            if end > until - _MOMENT and self._weight <= _MOST_REFS:
                break
            del self._kept[key]
            self._weight -= len(oldest.refs) + _OF_A_LISTING

    def forget(self, connection: Any) -> None:
        """Know of nothing that was told over a connection."""
        if connection is not None:
            self._told.pop(connection, None)

    def otherwise(self, connection: Any, identity: Identity, names: Sequence[str], listing: Listing) -> list[str]:
        """Return the objects that refs are by what was told last over a connection, where it is no longer so.

        :param connection: None when that is gone.
        :param names: the refs; very many are in no listing that is remembered, and are not gone through.
        :param listing: what they are now.
        """
        told = None if connection is None or len(names) > MANY_REFS else self._told.get(connection)
        if told is None or told.name != identity.name or told.until <= self._clock.seconds():
            return []
        before = told.listing()
        return [] if before is None or before is listing else list(dict.fromkeys(_moved(before, names, listing)))


def _moved(told: Listing, names: Sequence[str], listing: Listing) -> Iterator[str]:
    for name in names:
        was, now = told.by_name.get(name), listing.by_name.get(name)
        if was is not None and was.oid and (now is None or now.oid != was.oid):
            yield was.oid


class UploadPack:
    """The route of ``git-upload-pack``.

    :param commands: reads requests.
    :param listings: answers those that want no objects.
    :param told: is told what clients were told.
    :param mirrors: the mirrors.
    :param packs: sends what is kept of those that want objects.
    :param serve: answers the others of these.
    :param cloned: told of each repository that was fetched by a client that had nothing of it, whether he asked for
        all of it, and by which filter for the rest.
    """

    def __init__(
        self,
        *,
        commands: CommandReader,
        listings: RefListings,
        told: ToldListings,
        mirrors: Mirrors,
        packs: Packs,
        serve: Callable[[StreamingRequest, Right, Body, Fetch], Awaitable[None]],
        cloned: Callable[[Identity, bool, str], object] = lambda identity, whole, chosen: None,
    ) -> None:
        self._commands = commands
        self._listings = listings
        self._told = told
        self._mirrors = mirrors
        self._packs = packs
        self._serve = serve
        self._cloned = cloned

    async def handle(self, request: StreamingRequest, right: Right) -> None:
        """Answer ``POST …/git-upload-pack``.

        :raise CachewError: when neither the mirror nor the upstream can.
        """
        connection = request.connection  # which the request has no more once it is answered
        body, command = await self._commands.read(request, right.identity)
        request.outcome.shape = command.in_words
        right = await right.renewed()
        if not isinstance(command, Fetch):
            told = await self._listings.answer(request, right, body, command)
            if told is not None:
                self._told.note(connection, right.identity, told)
            return
        if not await self._serve_kept(request, right, body, command):
            await self._serve(request, right, body, command)
        if command.done and not command.haves:
            self._cloned(right.identity, command.is_whole, command.filter_of_all)

    async def _serve_kept(self, request: StreamingRequest, right: Right, body: Body, command: Fetch) -> bool:
        """Answer with a kept pack, which what it was made of has all objects for, as long as nobody has changed that.

        :return: whether there was one that this client may have.
        """
        mirror = self._mirrors.obtain(right.identity)
        if isinstance(command, V2Fetch) and command.want_refs:
            return False
        repository = mirror.place.found
        if not right.covers(mirror) or repository is None or repository.ledger.touched():
            return False
        return await self._packs.serve_kept(request, mirror, command, body)
