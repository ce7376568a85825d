"""Whose credential an upstream is shown for clients that have been let in.

To let a client in is another matter (:mod:`cachew.upstream.verdicts`): that is always asked with the client's own. Here
is what comes after it, and it is asked only where the upstream really is, so that nothing that is kept ever waits for a
credential.

A credential is ``Authorization``, and the headers that the config names. It travels through the server as one text, so
that whatever is remembered or shared by credential tells any two apart: the value of ``Authorization`` where there is
nothing else, and otherwise that value, which may be empty, and a line ``name: value`` for each of the others: no header
has a line break in it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cachew.plumbing.errors import UpstreamError

Own = Callable[[Any], Awaitable[str | None]]
"""``own(repository)``: the server's own ``Authorization``, None when it has none; may raise :class:`UpstreamError`."""

Shown = Callable[[Any, str | None], Awaitable[str | None]]
"""``shown(repository, authorization)``: what the upstream is shown for a client with that ``Authorization``."""


class ClientsOwn:
    """The client's own, but for ref checks of a private repository that this server mirrors with a credential.

    Those are made for all its clients together. Each of them would otherwise be shown upstream far more often than it
    takes to know that it may read.

    :param own: the server's own credential.
    :param mirrored: whether a repository has a mirror, so that its upstream is known to let the server in.
    """

    def __init__(self, *, own: Own, mirrored: Callable[[Any], bool]) -> None:
        self._own, self._mirrored = own, mirrored

    async def to_read(self, repository: Any, authorization: str | None) -> str | None:
        """Return what is shown to read from the upstream itself."""
        return authorization

    async def to_check(self, repository: Any, authorization: str | None) -> str | None:
        """Return what is shown to learn the refs."""
        if authorization is None or not self._mirrored(repository):
            return authorization
        try:
            return await self._own(repository) or authorization
        except UpstreamError:
            return authorization


class ServersOwn:
    """The server's own, on a network whose clients need none.

    :param own: that credential.
    """

    def __init__(self, *, own: Own) -> None:
        self._own = own

    async def to_read(self, repository: Any, authorization: str | None) -> str | None:
        """Return what is shown to read from the upstream itself.

        :raise UpstreamError: when it can't be had at present.
        """
        return await self._own(repository)

    to_check = to_read


async def as_it_is(repository: Any, authorization: str | None) -> str | None:
    """Show the client's own."""
    return authorization


@dataclass(frozen=True, kw_only=True)
class ShownCredentials:
    """What upstreams are shown for clients.

    :param to_check: to learn the refs, on behalf of all clients.
    :param to_read: to read anything else, on behalf of one.
    """

    to_check: Shown = as_it_is
    to_read: Shown = as_it_is
