"""Listings in the form in which they are sent: made once for all who ask, and elsewhere when that takes long.

Rendering a hundred thousand refs takes longer than sending them, and longer than others shall wait.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from cachew.plumbing.jobs import Slots
from cachew.plumbing.remembered import Remembered
from cachew.plumbing.shared import Shared
from cachew.upstream.listing import Listing

_REMEMBERED = 128 * 1024 * 1024
_FEW = 1000
"""Refs that are rendered at once."""
_AT_A_TIME = 2


class Renderings:
    """Renders listings.

    :param in_thread: for long ones.
    """

    def __init__(self, *, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._in_thread = in_thread
        self._made: Remembered[bytes] = Remembered(weigh=len, limit=_REMEMBERED)
        self._making: Shared[tuple[int, Hashable], bytes] = Shared()
        self._places = Slots(limit=_AT_A_TIME)

    async def of(self, listing: Listing, form: Hashable | None, make: Callable[[], bytes]) -> bytes:
        """Return a listing as it is sent.

        :param form: what tells how it is rendered; None for a form that nobody else will ask for.
        :param make: renders it.
        """
        if form is None:
            return await self._elsewhere(make)
        if (made := self._made.get(listing, form)) is not None:
            return made
        if len(listing.refs) <= _FEW:
            return self._made.of(listing, form, make)

        async def make_once() -> bytes:
            made = await self._elsewhere(make)
            return self._made.of(listing, form, lambda: made)

        return await self._making.run((id(listing), form), make_once)

    async def _elsewhere(self, make: Callable[[], bytes]) -> bytes:
        async with self._places.take(""):
            made: bytes = await self._in_thread(make)
            return made
