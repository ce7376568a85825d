"""Clones and fetches: ``git-upload-pack``.

A command is read, and answered out of memory or with a kept pack where that can be; other fetches are for
``fetchanswers.py``.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from weakref import ref

from cachew.http.incoming import Body, HeldBody
from cachew.http.requests import StreamingRequest
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MANY_REFS
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UnsupportedMediaType
from cachew.plumbing.jobs import Slots
from cachew.plumbing.remembered import Expiring
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
_CLIENTS = 1000
_LISTINGS = 3
"""Of a client's, which many may share an address."""
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


class ToldListings:
    """Remembers for some seconds what clients were told that refs are.

    Git asks for refs by their names (``ref-in-want``) when it has been told of them, but goes by what it was told: a
    clone puts its branch where the listing had it, and a fetch checks that this has come. When a ref has moved in
    between, the object that it was told of is sent as well, as a host would that is asked by ids.

    :param clock: tells how long ago that was.
    :param client_of: tells a request's client.
    """

    def __init__(self, *, clock: Clock, client_of: Callable[[Any], str]) -> None:
        self._clock = clock
        self.client_of = client_of
        self._told: Expiring[tuple[str, str], tuple[tuple[float, ref[Listing]], ...]] = Expiring(
            clock=clock, capacity=_CLIENTS
        )
        self._kept: OrderedDict[int, Listing] = OrderedDict()
        self._weight = 0

    def note(self, request: Any, identity: Identity, listing: Listing) -> None:
        """Take note of a listing that is told, unless it is very long."""
        if len(listing.refs) > MANY_REFS:
            return
        self._keep(listing)
        key, until = (identity.name, self.client_of(request)), self._clock.seconds() + _MOMENT
        others = [entry for entry in self._told.get(key) or () if entry[1]() is not listing]
        self._told.put(key, ((until, ref(listing)), *others[: _LISTINGS - 1]), _MOMENT)

    def _keep(self, listing: Listing) -> None:
        if self._kept.pop(id(listing), None) is None:
            self._weight += len(listing.refs) + _OF_A_LISTING
        self._kept[id(listing)] = listing
        while self._weight > _MOST_REFS:
            _, gone = self._kept.popitem(last=False)
            self._weight -= len(gone.refs) + _OF_A_LISTING

    def forget(self, request: Any, identity: Identity) -> None:
        """Know of nothing that the request's client was told."""
        self._told.forget((identity.name, self.client_of(request)))

    def otherwise(self, request: Any, identity: Identity, names: Sequence[str], listing: Listing) -> list[str]:
        """Return the objects that the request's client was told that refs are, where it is no longer so.

        :param names: the refs; very many are in no listing that is remembered, and are not gone through.
        :param listing: what they are now.
        """
        if len(names) > MANY_REFS:
            return []
        now = self._clock.seconds()
        told = self._told.get((identity.name, self.client_of(request))) or ()
        older = (kept() for until, kept in told if until > now)
        others = (one for one in older if one is not None and one is not listing)
        return list(dict.fromkeys(oid for one in others for oid in _moved(one, names, listing)))


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
        body, command = await self._commands.read(request, right.identity)
        request.outcome.shape = command.in_words
        right = await right.renewed()
        if not isinstance(command, Fetch):
            told = await self._listings.answer(request, right, body, command)
            if told is not None:
                self._told.note(request, right.identity, told)
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
