"""How much of each kind of work goes on at a time, and what of it is kept for short work."""

from collections.abc import Mapping
from dataclasses import dataclass

from cachew.plumbing.clock import Clock
from cachew.plumbing.jobs import Slots
from cachew.server.runtime import Runtime

_CHECKS = 2
"""Mirrors that are read through at a time: a disk gives no more."""
_ANY_NUMBER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Places:
    """How much of each kind of work goes on at a time."""

    serving: Slots
    fetching: Slots
    by_id: Slots
    cloning: Slots
    making: Slots
    checking: Slots

    def by_kind(self) -> Mapping[str, Slots]:
        """Return them by the kind of work, as metrics and pages call it."""
        return {
            "serve": self.serving,
            "fetch": self.fetching,
            "by-id": self.by_id,
            "clone": self.cloning,
            "make": self.making,
            "check": self.checking,
        }


def make_places(runtime: Runtime) -> Places:
    """Make the places for work."""
    git = runtime.settings.git
    return Places(
        serving=serving_slots(
            limit=git.max_processes or 2 * runtime.environment.cores + 4,
            queue_limit=git.queue_limit,
            clock=runtime.clock,
        ),
        fetching=_slots(runtime, git.max_fetches),
        by_id=_slots(runtime, git.max_fetches),
        cloning=_slots(runtime, git.max_clones),
        making=making_slots(runtime, queue_limit=git.queue_limit),
        checking=Slots(
            limit=_CHECKS,
            queue_limit=_ANY_NUMBER,
            kept_short=_kept_short(_CHECKS),
            reactor=runtime.reactor,
            clock=runtime.clock,
        ),
    )


def serving_slots(limit: int, *, queue_limit: int, clock: Clock | None = None) -> Slots:
    """Make places for git processes that serve clients.

    No repository holds more than half of them, and some are for what costs little, whoever has the others.
    """
    half = max(1, limit // 2) if limit > 2 else None
    return Slots(
        limit=limit,
        queue_limit=queue_limit,
        per_key=half,
        kept_short=_kept_short(limit),
        clock=clock,
    )


def making_slots(runtime: Runtime, *, queue_limit: int) -> Slots:
    """Make places for what is made of mirrors: no repository takes all of them, nor do all long ones together."""
    limit = runtime.settings.git.snapshot_concurrency
    return Slots(
        limit=limit,
        queue_limit=queue_limit,
        per_key=max(1, limit - 1),
        kept_short=_kept_short(limit),
        reactor=runtime.reactor,
        clock=runtime.clock,
    )


def _slots(runtime: Runtime, limit: int) -> Slots:
    """Make places for work of which nobody knows how long it takes; what takes minutes leaves some to others."""
    queue_limit = runtime.settings.git.queue_limit
    return Slots(
        limit=limit,
        queue_limit=queue_limit,
        kept_short=_kept_short(limit),
        reactor=runtime.reactor,
        clock=runtime.clock,
    )


def _kept_short(limit: int) -> int:
    """Return how many of so many places are kept for short work."""
    return max(1, limit // 4) if limit > 1 else 0
