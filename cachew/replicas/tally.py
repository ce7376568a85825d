"""What all replicas together have counted today, by name.

Counting only notes; now and then the notes are added to the shared counters. A counter's name holds its day, so that
yesterday's count stays what it was.
"""

import time
from collections import Counter
from collections.abc import Iterable

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.records import escaped

_MOST_NOTED = 10_000
_FRESH = 60.0

_Count = tuple[str, str]


class Tally:
    """Counts of all replicas together, by day.

    :param what: what is counted.
    :param progress: where the counters are.
    :param clock: what time it is.
    """

    def __init__(self, *, what: str, progress: TaskCompletions, clock: Clock) -> None:
        self._what = what
        self._progress = progress
        self._clock = clock
        self._noted: Counter[_Count] = Counter()
        self._known: dict[_Count, int] = {}
        self._read: dict[_Count, float] = {}
        self._day = ""

    def _today(self, name: str) -> _Count:
        return time.strftime("%Y-%m-%d", time.gmtime(self._clock.now())), name

    def note(self, name: str) -> None:
        """Count one."""
        if len(self._noted) < _MOST_NOTED:
            self._noted[self._today(name)] += 1

    def today(self, name: str) -> int:
        """Return today's count of all replicas, as far as it is known here."""
        count = self._today(name)
        return self._known.get(count, 0) + self._noted[count]

    async def flush(self) -> None:
        """Add what was noted to the shared counters; what can't be added now is kept for the next time."""
        for count, by in list(self._noted.items()):
            try:
                total = await self._progress.count(self._record(count), by)
            except CachewError:
                return
            self._noted[count] -= by
            if not self._noted[count]:
                del self._noted[count]
            self._learn(count, total)

    async def refresh(self, names: Iterable[str]) -> None:
        """Read today's counts of some names, unless they were read just now."""
        for count in [self._today(name) for name in names]:
            if self._clock.now() - self._read.get(count, float("-inf")) < _FRESH:
                continue
            try:
                self._learn(count, await self._progress.counted(self._record(count)))
            except CachewError:
                return

    def _learn(self, count: _Count, total: int) -> None:
        if count[0] > self._day:
            self._day = count[0]
            self._known.clear()
            self._read.clear()
        self._known[count], self._read[count] = total, self._clock.now()

    def _record(self, count: _Count) -> str:
        day, name = count
        return f"{self._what}/{day}/{escaped(name)}"
