"""What a server takes over time, read from outside, and whether it grows (pure but for the reading)."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BOUNDS = {
    "memory (MB)": 8.0,
    "descriptors": 6.0,
    "threads": 2.0,
    "children": 3.0,
    "files": 150.0,
    "state (MB)": 12.0,
    "SQLite (MB)": 2.0,
    "log (KB a minute)": 150.0,
}
"""By how much the slope of each may raise it in the half that is judged; what does not grow wavers by less."""

Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Slope:
    """How a figure has moved.

    :param per_minute: by the least squares of its second half.
    :param rise: what that makes of the second half.
    :param bound: how much it may be.
    """

    name: str
    per_minute: float
    rise: float
    bound: float

    @property
    def grows(self) -> bool:
        """Whether it grows more than it may."""
        return self.rise > self.bound


def sample(pid: int, state: Path, children: int) -> dict[str, float]:
    """Read what a server takes now (proc(5)).

    :param children: how many processes it has running, which the caller has counted.
    """
    about = Path(f"/proc/{pid}")
    status = (about / "status").read_text()
    sizes = _sizes(state)
    return {
        "memory (MB)": _field(status, "VmRSS") / 1024,
        "descriptors": len(list((about / "fd").iterdir())),
        "threads": _field(status, "Threads"),
        "children": children,
        "files": len(sizes),
        "state (MB)": sum(sizes.values()) / 2**20,
        "SQLite (MB)": sum(size for path, size in sizes.items() if ".sqlite" in path) / 2**20,
    }


def _field(status: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _sizes(state: Path) -> dict[str, int]:
    """Return the size of each file; what goes while it is looked at is not there."""
    found = {}
    for place, _, names in os.walk(state):
        for name in names:
            with suppress(FileNotFoundError):
                found[f"{place}/{name}"] = os.lstat(f"{place}/{name}").st_size
    return found


def slopes(minutes: Sequence[float], series: Series) -> list[Slope]:
    """Judge the second half of each series: what a server needs to get warm is not growth."""
    half = len(minutes) // 2
    judged = minutes[half:]
    lasted = judged[-1] - judged[0] if judged else 0.0
    found = {name: _slope(judged, values[half:]) for name, values in series.items()}
    return [Slope(name, slope, slope * lasted, BOUNDS.get(name, float("inf"))) for name, slope in found.items()]


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    count = len(xs)
    mean_x, mean_y = sum(xs) / max(count, 1), sum(ys) / max(count, 1)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def drawn(minutes: Sequence[float], series: Series) -> str:
    """Draw each series as a curve of its own, as SVG."""
    width, height, gap = 640, 90, 34
    parts = []
    for index, (name, values) in enumerate(series.items()):
        top, most = index * (height + gap) + gap, max([*values, 1e-9])
        last = minutes[-1] or 1.0
        points = " ".join(
            f"{40 + x / last * width:.1f},{top + height - y / most * height:.1f}"
            for x, y in zip(minutes, values, strict=True)
        )
        parts.append(
            f'<text x="40" y="{top - 8}">{name}: at most {most:.4g}, at the end {values[-1]:.4g}</text>'
            f'<path d="M40 {top + height}h{width}" stroke="#ccc"/>'
            f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>'
        )
    total = len(series) * (height + gap) + gap
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 80} {total}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}'
        f'<text x="40" y="{total - 8}">{minutes[-1]:.0f} minutes</text></svg>\n'
    )
