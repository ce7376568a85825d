"""The recent past of the server in equal steps, for the dashboard's curves (pure)."""

from collections import deque
from collections.abc import Mapping, Sequence


class History:
    """Keeps how many requests each source answered in each of the last steps.

    :param steps: how many are kept.
    """

    def __init__(self, *, steps: int = 60) -> None:
        self._steps: deque[dict[str, int]] = deque(maxlen=steps)
        self._last: dict[str, int] = {}

    def note(self, served: Mapping[str, int]) -> None:
        """End a step.

        :param served: requests since the start, by source; counters that only grow.
        """
        self._steps.append({source: max(0, count - self._last.get(source, 0)) for source, count in served.items()})
        self._last = dict(served)

    def totals(self) -> list[int]:
        """Return the requests of each step, oldest first."""
        return [sum(step.values()) for step in self._steps]

    def of(self, source: str) -> list[int]:
        """Return the requests that one source answered in each step, oldest first."""
        return [step.get(source, 0) for step in self._steps]


def polyline(values: Sequence[int], *, width: int, height: int) -> str:
    """Return the points of an SVG polyline through some values.

    :param width: of the curve; the last value is at its right end.
    :param height: of the curve; zero is at the bottom, and the greatest value at the top.
    """
    top = max(values, default=0) or 1
    step = width / max(len(values) - 1, 1)
    return " ".join(
        f"{position * step:.1f},{height - value / top * height:.1f}" for position, value in enumerate(values)
    )
