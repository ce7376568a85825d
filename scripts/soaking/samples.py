"""What a server takes over time, read from outside, and whether it grows (pure but for the reading)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BOUNDS = {
    "memory (MB)": 1.0,
    "descriptors": 0.5,
    "threads": 0.2,
    "children": 0.5,
    "files": 30.0,
    "index (MB)": 1.0,
    "refused": 0.0,
}
"""How much each may grow in a minute, once the server is warm."""

Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Slope:
    """How a figure has moved.

    :param per_minute: by the least squares of its second half.
    :param bound: how much it may grow.
    """

    name: str
    per_minute: float
    bound: float

    @property
    def grows(self) -> bool:
        """Whether it grows more than it may."""
        return self.per_minute > self.bound


def sample(pid: int, state: Path, children: int) -> dict[str, float]:
    """Read what a server takes now (proc(5)).

    :param children: how many processes it has running, which the caller has counted.
    """
    about = Path(f"/proc/{pid}")
    status = (about / "status").read_text()
    return {
        "memory (MB)": _field(status, "VmRSS") / 1024,
        "descriptors": len(list((about / "fd").iterdir())),
        "threads": _field(status, "Threads"),
        "children": children,
        "files": sum(1 for path in state.rglob("*") if path.is_file()),
        "index (MB)": sum(path.stat().st_size for path in state.glob("cache/index.sqlite*")) / 2**20,
    }


def _field(status: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return float(found[1]) if found else 0.0


def slopes(minutes: Sequence[float], series: Series) -> list[Slope]:
    """Judge the second half of each series: what a server needs to get warm is not growth."""
    half = len(minutes) // 2
    return [
        Slope(name, _slope(minutes[half:], values[half:]), BOUNDS.get(name, float("inf")))
        for name, values in series.items()
    ]


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
        f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
