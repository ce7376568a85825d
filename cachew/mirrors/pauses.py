"""When upstreams are asked again: those that hang, and those of whose very many refs only some were asked for."""

from dataclasses import dataclass

from cachew.mirrors.identity import Identity
from cachew.mirrors.refknowledge import FAILURES, KeptOutcomes, RefOutcome
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamError
from cachew.plumbing.remembered import Expiring
from cachew.upstream.listing import Listing

_LONG = 0.5
"""Seconds after which a failure was waited for."""
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 10.0
_TROUBLE_COUNTS = 3600.0
_MOST_TROUBLES = 10_000
_ALL_AGAIN = 600.0
_ALL_AFTER_INTERVALS = 60
"""Seconds and intervals, whichever is longer, after which all heads and tags are asked for that nobody asks for."""
_REMEMBERED = 86400.0


@dataclass(frozen=True)
class _Trouble:
    """An upstream that hangs: how long it is left alone, when it is asked again, and which request it was seen by."""

    pause: float
    again_at: float
    number: int


class UpstreamPauses:
    """When upstreams are asked again that hang, and for all refs of those that are asked for a few.

    :param clock: where pauses come from.
    :param kept: knows how long listings are good for.
    """

    def __init__(self, *, clock: Clock, kept: KeptOutcomes) -> None:
        self._clock = clock
        self._kept = kept
        self._troubles: Expiring[Identity, _Trouble] = Expiring(clock=clock, capacity=_MOST_TROUBLES)
        self._all_again: Expiring[Identity, float] = Expiring(clock=clock, capacity=_MOST_TROUBLES)

    def hangs(self, identity: Identity) -> bool:
        """Whether an upstream hangs, so that nobody is made to wait for it."""
        return self._trouble(identity) is not None

    def over(self, identity: Identity) -> bool:
        """Whether an upstream that hangs is to be asked again."""
        trouble = self._trouble(identity)
        return trouble is None or self._clock.seconds() >= trouble.again_at

    def _trouble(self, identity: Identity) -> _Trouble | None:
        # One that has taken a push since is well, and whoever pushed is not shown what was before.
        trouble = self._troubles.get(identity)
        return None if trouble is None or self._kept.changes.void(identity.name, trouble.number) else trouble

    def note(self, identity: Identity, begun: RefOutcome, result: Listing | UpstreamError) -> None:
        """Remember an upstream that hangs: whose failure was waited for.

        :param begun: the request that it was asked by.
        """
        now, known = self._clock.seconds(), self._trouble(identity)
        if not isinstance(result, FAILURES):
            self._troubles.forget(identity)
        elif known is not None or self._kept.age(begun) >= _LONG:
            pause = _FIRST_PAUSE if known is None else min(2 * known.pause, max(_LAST_PAUSE, self._kept.interval))
            self._troubles.put(identity, _Trouble(pause, now + pause, begun.number), _TROUBLE_COUNTS)

    def all_listed(self, identity: Identity) -> None:
        """Note that all heads and tags have been listed."""
        after = max(_ALL_AGAIN, _ALL_AFTER_INTERVALS * self._kept.interval)
        self._all_again.put(identity, self._clock.seconds() + after, _REMEMBERED)

    def all_due(self, identity: Identity) -> bool:
        """Say whether all heads and tags have not been listed for long; then they are taken to be from now on."""
        due = self._all_again.get(identity)
        late = due is not None and self._clock.seconds() >= due
        if due is None or late:
            self.all_listed(identity)
        return late
