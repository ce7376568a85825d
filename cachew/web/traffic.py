"""What the server did in the last hour and in the last day, minute by minute (pure).

Counters that only grow are read now and then; what they have grown by belongs to the minute in which they are read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Upper bounds, in seconds, between which durations are counted; what took longer is counted after the last."""
KEPT = 25 * 60
"""Minutes that are remembered."""
_MINUTE = 60.0
_MOST_STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted, of requests for repositories that only read.

    :param requests: how many were answered.
    :param hits: git requests that were answered without the upstream.
    :param misses: those that the upstream answered.
    :param cached: bytes sent out of what is kept here.
    :param relayed: bytes sent as they came from upstreams.
    :param durations: how many requests took how long, between the bounds of :data:`BOUNDS`.
    """

    requests: int = 0
    hits: int = 0
    misses: int = 0
    cached: int = 0
    relayed: int = 0
    durations: tuple[int, ...] = field(default=(0,) * (len(BOUNDS) + 1))

    def plus(self, other: "Counts", times: int = 1) -> "Counts":
        """Return the sum, or what is left when ``times`` is -1: never less than nothing."""
        return Counts(
            requests=max(0, self.requests + times * other.requests),
            hits=max(0, self.hits + times * other.hits),
            misses=max(0, self.misses + times * other.misses),
            cached=max(0, self.cached + times * other.cached),
            relayed=max(0, self.relayed + times * other.relayed),
            durations=tuple(
                max(0, mine + times * theirs) for mine, theirs in zip(self.durations, other.durations, strict=True)
            ),
        )

    @property
    def hit_rate(self) -> float | None:
        """The part of git requests that needed no upstream, None when there were none."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    def percentile(self, part: float) -> float | None:
        """Return in how many seconds so many of the requests were answered, None when there were none."""
        wanted, seen = part * sum(self.durations), 0.0
        if not wanted:
            return None
        lower = 0.0
        for bound, count in zip(BOUNDS, self.durations, strict=False):
            if seen + count >= wanted:
                return lower + (bound - lower) * (wanted - seen) / count
            seen, lower = seen + count, bound
        return lower


@dataclass(frozen=True)
class TrafficWindow:
    """A time to look back on.

    :param name: what it is called.
    :param minutes: how long it is.
    :param step: minutes that are shown as one.
    """

    name: str
    minutes: int
    step: int

    @property
    def ticks(self) -> Sequence[str]:
        """What is written under the curves: how long ago that was."""
        unit, each = ("h", 60) if self.minutes > 120 else ("min", 1)
        first, *others = (str(self.minutes * part // 4 // each) for part in (4, 3, 2, 1))
        return [f"{first} {unit} ago", *others, "now"]


HOUR, DAY = TrafficWindow("hour", 60, 1), TrafficWindow("day", 24 * 60, 15)
SPANS = {span.name: span for span in (HOUR, DAY)}


class Traffic:
    """The minutes of the last day."""

    def __init__(self) -> None:
        self._minutes: dict[int, Counts] = {}
        self._last: Counts | None = None
        self._unsaved: set[int] = set()
        self._over: dict[tuple[int, int], Counts] = {}
        """Steps that are over, by where they begin and how long they are."""

    def recall(self, minutes: Iterable[tuple[int, Counts]]) -> None:
        """Take up what an earlier run has counted."""
        for minute, counts in minutes:
            self._minutes[minute] = self._minutes.get(minute, Counts()).plus(counts)
        self._over.clear()

    def note(self, now: float, counted: Counts) -> None:
        """Take up what was counted.

        :param now: the time of day in epoch seconds.
        :param counted: all since the start.
        """
        grown = counted if self._last is None else counted.plus(self._last, -1)
        self._last = counted
        minute = _minute(now)
        if grown != Counts():
            self._minutes[minute] = self._minutes.get(minute, Counts()).plus(grown)
            self._unsaved.add(minute)
        for old in [known for known in self._minutes if not minute - KEPT < known <= minute]:
            del self._minutes[old]

    def unsaved(self) -> list[tuple[int, Counts]]:
        """Return the minutes that have changed since this was asked last."""
        unsaved, self._unsaved = self._unsaved, set()
        return [(minute, self._minutes[minute]) for minute in sorted(unsaved) if minute in self._minutes]

    def steps(self, now: float, span: TrafficWindow) -> list[Counts]:
        """Return the steps of a span that ends now, the oldest first."""
        end = _minute(now) + 1
        # Steps are cut where the clock cuts them, lest each minute moves them all.
        end += -end % span.step
        return [self._step(start, span.step, _minute(now)) for start in range(end - span.minutes, end, span.step)]

    def _step(self, start: int, length: int, present: int) -> Counts:
        over = start + length <= present
        if over and (start, length) in self._over:
            return self._over[start, length]
        minutes = (self._minutes.get(minute) for minute in range(start, start + length))
        step = total(counts for counts in minutes if counts is not None)
        if over:
            if len(self._over) >= _MOST_STEPS:
                self._over.clear()
            self._over[start, length] = step
        return step


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum."""
    return reduce(Counts.plus, counts, Counts())


def _minute(now: float) -> int:
    return int(now // _MINUTE)
