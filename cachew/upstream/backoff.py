"""Leaving an upstream alone for a while after it said that it is busy.

What holds is kept per scope: an upstream's repository together with who asked, so that one client's spent rate limit
or broken credential never stands in another's way.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamBusy

LONGEST_HOLD = 20.0
"""Seconds for which an upstream that does not say so itself is left alone at most: so long it may be well unnoticed."""


@dataclass(frozen=True)
class _Hold:
    until: float
    failures: int
    status: int
    told: bool


class Backoff:
    """Remembers until when no new check may be made.

    :param clock: what time it is.
    :param random: gives numbers from 0 up to 1, for jitter.
    :param shortest: the first wait, in seconds, when the upstream names none; it doubles with each failure.
    :param longest: the longest such wait, in seconds.
    :param capacity: scopes remembered; the longest unused goes first.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Callable[[], float],
        shortest: float = 1.0,
        longest: float = LONGEST_HOLD,
        capacity: int = 10_000,
    ) -> None:
        self._clock, self._random = clock, random
        self._shortest, self._longest = shortest, longest
        self._capacity = capacity
        self._holds: OrderedDict[Hashable, _Hold] = OrderedDict()

    def check(self, scope: Hashable, upstream: str) -> None:
        """Let a check pass unless the scope is to be left alone.

        :param upstream: the URL for the message.
        :raise UpstreamBusy: while it is.
        """
        left = self.left(scope)
        if left > 0:
            hold = self._holds[scope]
            raise UpstreamBusy(
                upstream,
                f"answered {hold.status} and is left alone for {left:.0f} more seconds",
                status=hold.status,
                # When to come back is the upstream's to say, not for how long this server leaves it alone.
                retry_after=left if hold.told else None,
            )

    def left(self, scope: Hashable) -> float:
        """Return for how many seconds a scope is still to be left alone."""
        hold = self._holds.get(scope)
        return 0.0 if hold is None else max(0.0, hold.until - self._clock.seconds())

    def busy(self, scope: Hashable, *, status: int, retry_after: float | None) -> None:
        """Note that the upstream answered 429 or 5xx.

        :param retry_after: the seconds that it asked for.
        """
        known = self._holds.pop(scope, None)
        failures = 1 if known is None else known.failures + 1
        wait = self._own_wait(failures) if retry_after is None else retry_after
        self._holds[scope] = _Hold(self._clock.seconds() + wait, failures, status, retry_after is not None)
        while len(self._holds) > self._capacity:
            self._holds.popitem(last=False)

    def _own_wait(self, failures: int) -> float:
        full = min(self._longest, self._shortest * 2.0 ** min(failures - 1, 30))
        return full * (0.5 + self._random() / 2)

    def well(self, scope: Hashable) -> None:
        """Note that the upstream answered as it should."""
        self._holds.pop(scope, None)
