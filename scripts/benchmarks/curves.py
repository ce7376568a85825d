"""Draws growth: CPU over refs, commits or repositories, the server's beside its peer's, axes logarithmic (pure)."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _LINE = 300, 220, 52, 58, 40, 18
_STYLE = """
text{font:13px system-ui,sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}.axis{stroke:#d0d7de}
polyline{fill:none;stroke-width:2}.cachew{stroke:#0969da}.nginx{stroke:#cf222e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#8d96a0}.axis{stroke:#30363d}.cachew{stroke:#4493f8}}
"""
_REPOSITORIES = re.compile(r"(\d+) repositories")
_OF_REPOSITORIES = ("until ready", "of a look at the dashboard")
_STEP = re.compile(r"(.+), (\d+) (refs|commits)")


@dataclass(frozen=True)
class Curve:
    """What one thing costs one server.

    :param points: the number of refs, commits or repositories, and seconds of CPU.
    """

    what: str
    server: str
    points: tuple[tuple[int, float], ...]


def curves(group: Mapping[str, Any]) -> list[Curve]:
    """Return the curves of stored results, as :func:`scripts.benchmarks.report.as_json` gives them."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in group["rows"]:
        match = _STEP.fullmatch(row["scenario"])
        if match is not None and row["cpu"]:
            found.setdefault((f"{match[1]}, {match[3]}", row["server"]), []).append((int(match[2]), row["cpu"]))
    for title, figures in group.get("facts", {}).items():
        if (match := _REPOSITORIES.fullmatch(title)) is not None:
            for what in _OF_REPOSITORIES:
                found.setdefault((f"{what}, repositories", "cachew"), []).append(
                    (int(match[1]), figures[f"CPU seconds {what}"])
                )
    return [Curve(what, server, tuple(sorted(points))) for (what, server), points in found.items()]


def svg(drawn: Sequence[Curve]) -> str:
    """Return the picture: a panel for each thing that was measured."""
    panels = list(dict.fromkeys(curve.what for curve in drawn))
    width, height = _GAP + (_WIDTH + _GAP) * max(1, len(panels)), _TOP + _HEIGHT + 50
    seconds = [cpu for curve in drawn for _, cpu in curve.points]
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="CPU over refs, commits and repositories">\n<style>{_STYLE}</style>',
        '<text x="12" y="22">CPU seconds of a server for one thing, over refs, commits or repositories</text>',
        '<text class="small" x="12" y="40">less is better; both axes logarithmic; blue: cachew, red: nginx</text>',
    ]
    if seconds:
        for number, what in enumerate(panels):
            shown = [curve for curve in drawn if curve.what == what]
            counts = [count for curve in shown for count, _ in curve.points]
            place = _Place(min(counts), max(counts), min(seconds) / 2, max(seconds) * 2)
            body += _panel(what, shown, place, number)
    return "\n".join([*body, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Place:
    """Where in a panel a point lies."""

    fewest: int
    most: int
    least: float
    greatest: float

    def x(self, refs: int) -> float:
        """Return how far to the right."""
        return _share(refs, self.fewest, self.most) * (_WIDTH - _LEFT)

    def y(self, cpu: float) -> float:
        """Return how far down."""
        return (1 - _share(cpu, self.least, self.greatest)) * _HEIGHT


def _share(value: float, least: float, greatest: float) -> float:
    return math.log(value / least) / math.log(greatest / least) if greatest > least else 0.5


def _panel(what: str, drawn: Sequence[Curve], place: _Place, number: int) -> list[str]:
    left, bottom = _GAP + number * (_WIDTH + _GAP) + _LEFT, _TOP + _HEIGHT
    lines = [
        f'<text x="{left}" y="{_TOP - 4}">{escape(what)}</text>',
        f'<line class="axis" x1="{left}" y1="{bottom}" x2="{left + _WIDTH - _LEFT}" y2="{bottom}"/>',
    ]
    for refs in dict.fromkeys(count for curve in drawn for count, _ in curve.points):
        x = left + place.x(refs)
        lines.append(f'<text class="small" x="{x:.1f}" y="{bottom + _LINE}" text-anchor="middle">{refs:,}</text>')
    for curve in drawn:
        points = [(left + place.x(count), _TOP + place.y(cpu)) for count, cpu in curve.points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline class="{escape(curve.server)}" points="{joined}"/>')
        for (x, y), (_, cpu) in zip(points, curve.points, strict=True):
            lines.append(f'<text class="small" x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle">{cpu:.2g}</text>')
    return lines
