"""What all mirrors of a server share: what they work with, and who is told what becomes of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import Identity
from cachew.mirrors.listings import Listings
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.metrics import Metrics
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.listing import Listing
from cachew.upstream.verdictmemory import UpstreamChanges


@dataclass(frozen=True, kw_only=True)
class MirrorResources:
    """What all mirrors of a server share.

    :param git: how to run git.
    :param reactor: bounds waits.
    :param clock: what time it is.
    :param metrics: where fetches are counted.
    :param listings: the listings of all repositories that are at hand.
    :param background: where a mirror is looked at when it is in doubt.
    :param posts: ask upstreams for packs.
    :param list_refs: has a repository's heads and tags listed, so that what its upstream lists is taken notice of.
    :param first: knows what clients have received before there is a mirror.
    :param ref_interval: returns for how many seconds it counts what an upstream has said of its refs.
    :param changes: knows which upstreams have changed since they were asked.
    """

    git: GitRunner
    reactor: IReactorTime
    clock: Clock
    metrics: Metrics
    listings: Listings
    background: Background
    posts: AuthenticatedPosts
    list_refs: Callable[[Identity], Awaitable[Listing]]
    first: FirstClones
    ref_interval: Callable[[], float] = lambda: 0.0
    changes: UpstreamChanges = field(default_factory=UpstreamChanges)


def _nobody(identity: Identity) -> None:
    """Hear it and do nothing."""


@dataclass(frozen=True, kw_only=True)
class MirrorListeners:
    """Who is told of what.

    :param made: told of each repository of which a mirror was made.
    :param grown: told of each whose mirror was made or has fetched something.
    :param changed: told of each of which people see something else than before.
    :param forgotten: told of each whose mirror was forgotten, and of which nothing is to be kept.
    :param damaged: told of each whose mirror was damaged, and the time from which on what was made of it may be so too.
    """

    made: Callable[[Identity], object] = _nobody
    grown: Callable[[Identity], object] = _nobody
    changed: Callable[[Identity], object] = _nobody
    forgotten: Callable[[Identity], object] = _nobody
    damaged: Callable[[Identity, float], object] = lambda identity, since: None
