"""What clients of ``git-upload-pack`` ask for, read from their requests."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cachew.http.incoming import Body, HeldBody
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import UnsupportedMediaType
from cachew.plumbing.jobs import Slots
from cachew.smarthttp import wantedrefs
from cachew.smarthttp.clientcommands import GitCommand
from cachew.smarthttp.request import read_command
from cachew.upstream.listing import Listing

_REQUEST = "application/x-git-upload-pack-request"
_SHORT = 256 * 1024
"""Bytes of a request above which reading it takes long enough to hold others up."""
_LONG_AT_A_TIME = 2
_LIKE_OTHERS = 2 * 1024
"""Bytes of a request up to which others are likely to send the very same."""
_REMEMBERED = 500


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
