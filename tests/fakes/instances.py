"""Repositories that are the same for ever, for tests in which nothing else matters."""

from collections.abc import Sequence
from typing import Any, cast

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.upstream.listing import Listing
from cachew.web.access.guard import Right


def only(identity: Identity) -> Instance:
    """Return the only instance of a repository."""
    return Instance(identity, "0" * 32)


def right(identity: Identity, authorization: str | None = None) -> Right:
    """Return the right to it, which holds for ever."""

    async def again() -> Right:
        return right(identity, authorization)

    return Right(identity, only(identity), authorization, 0, cast(Any, OneInstance()), again)


class OneInstance:
    """Takes every repository for the same one for ever."""

    def __init__(self) -> None:
        self.compared_with: list[bool] = []

    def current(self, identity: Identity) -> Instance | None:
        return only(identity)

    def is_current(self, instance: Instance) -> bool:
        return instance == only(instance.identity)

    def doubted_tips(self, instance: Instance, listing: Listing) -> Sequence[str] | None:
        return None

    def undecided(self, instance: Instance) -> None:
        pass

    async def compared(self, instance: Instance, listing: Listing, *, related: bool) -> None:
        self.compared_with.append(related)

    def readable(self, identity: Identity) -> Instance | None:
        return only(identity)

    readable_to_all = readable

    def era(self, identity: Any) -> int:
        return 0

    async def settled(self, identity: Identity, seconds: float) -> None:
        pass
