"""Who answers a git request (pure).

One table for all cases: from memory, by the mirror, by the upstream, or not before the fetch under way has ended.
Freshness and access have been seen to before; what is decided here is only who has what the client wants.
"""

from dataclasses import dataclass
from enum import Enum

from cachew.smarthttp.clientcommands import Fetch, GitCommand, Probe, V2LsRefs, V2Other

MIRROR_FEATURES = frozenset({
    "multi_ack", "multi_ack_detailed", "thin-pack", "side-band", "side-band-64k", "ofs-delta", "shallow", "deepen",
    "deepen-since", "deepen-not", "deepen-relative", "no-progress", "include-tag", "allow-tip-sha1-in-want",
    "allow-reachable-sha1-in-want", "no-done", "filter", "object-format", "agent", "session-id", "wait-for-done",
    "symref",
})  # fmt: skip
"""What a mirror's upload-pack understands in a fetch."""


class RouteKind(Enum):
    """Who answers."""

    MEMORY = "memory"
    MIRROR = "mirror"
    UPSTREAM = "upstream"
    WAIT = "wait"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Route:
    """A decision and its reason, for the log and the metrics.

    ``WAIT`` means: join the fetch that brings the missing objects (or start it), then decide again with
    :attr:`Situation.fetch_tried` set. ``NOBODY`` means that the upstream would not understand the request: it speaks an
    older protocol than the mirror.
    """

    kind: RouteKind
    reason: str


@dataclass(frozen=True)
class Situation:
    """What is known about the mirror when a request comes.

    :param ready: whether the mirror can serve.
    :param listed: whether there is a ref listing to answer from.
    :param has_refs: whether that listing has any ref.
    :param object_format: the mirror's.
    :param wants_present: whether the mirror has every object that the command wants.
    :param fetch_tried: whether a fetch for this request has been waited for already.
    :param refused: whether the mirror's upload-pack has refused this request already.
    :param backend_commands: v2 commands beyond ``ls-refs`` and ``fetch`` that the mirror's upload-pack answers.
    :param features: what it understands in a fetch.
    :param upstream_version: the newest version of the protocol that the upstream speaks.
    """

    ready: bool
    listed: bool = True
    has_refs: bool = True
    object_format: str = "sha1"
    wants_present: bool = False
    fetch_tried: bool = False
    refused: bool = False
    backend_commands: frozenset[str] = frozenset()
    features: frozenset[str] = MIRROR_FEATURES
    upstream_version: int = 2


def decide(operation: str, command: GitCommand | None, situation: Situation) -> Route:
    """Decide who answers a request.

    :param operation: ``info/refs`` (of upload-pack), ``git-upload-pack``, ``git-receive-pack`` (and its
        ``info/refs``), or ``info/lfs/…``.
    :param command: the parsed body of a ``git-upload-pack`` request.
    """
    if operation == "info/refs":
        return _listing(situation)
    if operation != "git-upload-pack" or command is None:
        return Route(RouteKind.UPSTREAM, f"{operation} is the upstream's")
    if isinstance(command, Probe):
        return Route(RouteKind.MEMORY, "a probe")
    if isinstance(command, V2LsRefs):
        return _ls_refs(command, situation)
    if isinstance(command, V2Other):
        return _other(command, situation)
    return _fetch(command, situation)


def _listing(situation: Situation) -> Route:
    if not situation.ready:
        # What the upstream announces is what it will be asked, as long as it is the one that answers.
        return Route(RouteKind.UPSTREAM, "the mirror is not ready")
    if not (situation.listed and situation.has_refs):
        return Route(RouteKind.UPSTREAM, "no refs are known")
    return Route(RouteKind.MEMORY, "refs are known")


def _ls_refs(command: V2LsRefs, situation: Situation) -> Route:
    if command.unknown:
        return Route(RouteKind.UPSTREAM, "unknown arguments")
    if not (situation.listed and situation.has_refs):
        return Route(RouteKind.UPSTREAM, "no refs are known")
    if situation.ready and command.object_format != situation.object_format:
        return Route(RouteKind.UPSTREAM, "another object format")
    return Route(RouteKind.MEMORY, "refs are known")


def _other(command: V2Other, situation: Situation) -> Route:
    if not situation.ready:
        return Route(RouteKind.UPSTREAM, "the mirror is not ready")
    if command.name not in situation.backend_commands or situation.refused:
        return Route(RouteKind.UPSTREAM, f"the mirror does not serve {command.name[:40]!r}")
    return Route(RouteKind.MIRROR, f"the mirror serves {command.name}")


def _fetch(command: Fetch, situation: Situation) -> Route:
    route = _fetched_from(command, situation)
    if route.kind is RouteKind.UPSTREAM and situation.ready and command.version > situation.upstream_version:
        # It is the mirror that has announced the newer one.
        return Route(RouteKind.NOBODY, route.reason)
    return route


def _fetched_from(command: Fetch, situation: Situation) -> Route:
    if not situation.ready:
        return Route(RouteKind.UPSTREAM, "the mirror is not ready")
    if command.object_format != situation.object_format:
        return Route(RouteKind.UPSTREAM, "another object format")
    if foreign := command.features - situation.features:
        return Route(RouteKind.UPSTREAM, f"the mirror does not know {min(foreign)[:40]!r}")
    if command.filters_by_object:
        # A mirror may lack it, or the ref that names it, which upload-pack notices in the middle of its answer.
        return Route(RouteKind.UPSTREAM, "the filter names an object")
    if situation.refused:
        return Route(RouteKind.UPSTREAM, "the mirror refused")
    if situation.wants_present:
        return Route(RouteKind.MIRROR, "all wants are in the mirror")
    if situation.fetch_tried:
        return Route(RouteKind.UPSTREAM, "wants are missing after a fetch")
    return Route(RouteKind.WAIT, "wants are missing")
