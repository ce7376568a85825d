"""Who is told what upstreams say of their refs, before the ref gate does anything with it and after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachew.mirrors.identity import Identity
from cachew.mirrors.instances import Instances
from cachew.mirrors.kinds import Kind
from cachew.plumbing.errors import UpstreamError, UpstreamRefused
from cachew.upstream.listing import Listing


@dataclass(frozen=True, kw_only=True)
class GateListeners:
    """Who is told what upstreams say of their refs.

    :param instances: take notice of it before anything is done with it, and say whose it is.
    :param listing: all told of each new listing of heads and tags or of everything, and its start.
    :param part: told of each new listing of a part of them, after what it was bounded to.
    :param verdict: told of each repository, credential and refusal, or None when the upstream served it.
    :param asked: told of each repository whose upstream was asked, and what came of it.
    """

    instances: Instances
    listing: Sequence[Callable[[Identity, Listing, float], object]] = ()
    part: Callable[[Identity, Kind, Listing, float], object] = lambda *part: None
    verdict: Callable[[Identity, str | None, UpstreamRefused | None], object] = lambda *verdict: None
    asked: Callable[[Identity, Listing | UpstreamError], object] = lambda *asked: None
