"""Who is told whatever upstreams say of their refs: before anything is done with it, and after."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Verdict
from cachew.mirrors.kinds import Kind
from cachew.plumbing.errors import UpstreamError, UpstreamRefused
from cachew.upstream.listing import Listing


class Hearing(Protocol):
    """Is told whatever upstreams say; see :class:`cachew.mirrors.instances.Instances`."""

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say what a listing of heads and tags, or of everything, means for what is kept.

        :param credential: what the upstream was shown.
        :param number: of the question; later ones have higher numbers.
        """

    async def listed_in_part(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> bool:
        """Say whether a listing of some refs is certainly of what is kept, so that nobody needs to see the others."""

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Take notice of a refusal."""

    def knows(self, identity: Identity) -> bool:
        """Say whether a repository is known, so that something may be kept of it."""


class HearsNothing:
    """Takes every listing for one of the same repository, and everybody's."""

    def knows(self, identity: Identity) -> bool:
        """Say that it is."""
        return True

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say that it goes on."""
        return Verdict.GOES_ON

    async def listed_in_part(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> bool:
        """Say that it is."""
        return True

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class GateListeners:
    """Who is told what upstreams say of their refs.

    :param hearing: takes notice of it before anything is done with it.
    :param listing: told of each new listing of heads and tags or of everything, and its start.
    :param part: told of each new listing of a part of them, after what it was bounded to.
    :param verdict: told of each repository, credential and refusal, or None when the upstream served it.
    :param changed: told of each repository that has just changed.
    :param asked: told of each repository whose upstream was asked, and what came of it.
    """

    hearing: Hearing = field(default_factory=HearsNothing)
    listing: Callable[[Identity, Listing, float], object] = lambda *listing: None
    part: Callable[[Identity, Kind, Listing, float], object] = lambda *part: None
    verdict: Callable[[Identity, str | None, UpstreamRefused | None], object] = lambda *verdict: None
    changed: Callable[[Identity], object] = lambda identity: None
    asked: Callable[[Identity, Listing | UpstreamError], object] = lambda *asked: None
