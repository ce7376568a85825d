"""What the other replicas know to be public: a new one serves what they serve, whatever the upstream does.

It is only ever a reason to serve while the upstream is being asked, as one's own memory is. What an upstream has
refused here is not believed of others for as long as their sightings may count, and theirs are void.
"""

from contextlib import suppress
from typing import Protocol

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared

_LOOK_AGAIN = 10.0
"""Seconds after which what nobody had seen to be public is looked for again."""


class SightingRecords(Protocol):
    """Where replicas write down what they saw; may fail with :class:`CachewError`."""

    async def last(self, name: str) -> float | None:
        """Return when any replica last saw a repository to be public, in seconds since the epoch."""

    async def seen(self, name: str, at: float) -> None:
        """Write down that a repository was seen to be public."""

    async def void(self, name: str) -> None:
        """Have whatever was written down count no more."""


class Elsewhere:
    """Asks the other replicas which repositories they have seen to be public.

    :param sightings: where it is written down.
    :param clock: what time it is.
    :param grace: seconds for which a sighting counts.
    :param background: where it is written.
    :param capacity: repositories remembered.
    """

    def __init__(
        self,
        *,
        sightings: SightingRecords,
        clock: Clock,
        grace: float,
        background: Background,
        capacity: int = 10_000,
    ) -> None:
        self._sightings = sightings
        self._clock = clock
        self._grace = grace
        self._background = background
        self._told: Expiring[str, bool] = Expiring(clock=clock, capacity=capacity)
        self._refused: Expiring[str, bool] = Expiring(clock=clock, capacity=capacity)
        self._in_vain: Expiring[str, bool] = Expiring(clock=clock, capacity=capacity)
        self._looks: Shared[str, float | None] = Shared(keep=True)

    def seen(self, name: str) -> None:
        """Tell the others that a repository is public, unless that was told less than a tenth of the grace ago."""
        self._refused.forget(name)
        if self._grace and not self._told.get(name):
            self._told.put(name, True, self._grace / 10)
            self._background.start(self._sightings.seen(name, self._clock.now()), f"telling that {name} is public")

    def refused(self, name: str) -> None:
        """Tell the others that a repository is not public, unless that was told within the grace."""
        self._told.forget(name)
        if self._grace and not self._refused.get(name):
            self._refused.put(name, True, self._grace)
            self._background.start(self._sightings.void(name), f"telling that {name} is not public")

    async def look(self, name: str) -> float | None:
        """Return when another replica last saw a repository to be public; None when that is not known."""
        if not self._grace or self._refused.get(name) or self._in_vain.get(name):
            return None
        at = await self._looks.run(name, lambda: self._look(name))
        return None if self._refused.get(name) else at

    async def _look(self, name: str) -> float | None:
        at = None
        with suppress(CachewError):
            at = await self._sightings.last(name)
        if at is None:
            self._in_vain.put(name, True, _LOOK_AGAIN)
        return at
