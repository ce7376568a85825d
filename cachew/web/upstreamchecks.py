"""When upstreams last said what their refs are."""

from collections.abc import Iterable

from cachew.mirrors.freshness import Freshness
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.usage import MirrorUsage
from cachew.plumbing.clock import Clock


class UpstreamChecks:
    """Knows when each repository's upstream was asked last.

    :param freshness: the ref gate.
    :param usage: knows it of those that the gate has forgotten.
    :param clock: what time it is.
    """

    def __init__(self, *, freshness: Freshness, usage: MirrorUsage, clock: Clock) -> None:
        self._freshness = freshness
        self._usage = usage
        self._clock = clock

    def last(self, mirror: Mirror) -> float | None:
        """Return when the upstream last said what its refs are: of what is known, the latest."""
        identity = mirror.identity
        known = (
            self._freshness.known.checked(identity, self._clock.now()),
            self._usage.last_checked(identity),
            mirror.life.last_fetch,
        )
        return max((at for at in known if at is not None), default=None)

    def oldest(self, mirrors: Iterable[Mirror]) -> float:
        """Return how many seconds ago that upstream was asked last which was asked longest ago; 0 when none was."""
        asked = [self.last(mirror) for mirror in mirrors if mirror.life.ready]
        known = [at for at in asked if at is not None]
        return max(0.0, self._clock.now() - min(known)) if known else 0.0
