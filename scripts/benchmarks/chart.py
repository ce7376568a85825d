"""Draws the README's chart: what cachew takes of the peer's time and CPU, a bar per goal (pure)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_WIDTH, _LABELS, _ROW = 860, 360, 22
_TOP, _BOTTOM = 56, 42
_OTHER_PEERS = ("snapshot", "helper", "store", "growth", "link")
"""Groups that are compared with something else than the peer."""
_LEAST, _MOST = 0.001, 2.0
_STYLE = """
text{font:13px system-ui,sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}
.title{font-size:16px;font-weight:600}
.axis{stroke:#d0d7de}.peer{stroke:#cf222e}.bar{fill:#0969da}.miss{fill:#bf8700}.goal{stroke:#1a7f37;stroke-width:3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#8d96a0}.axis{stroke:#30363d}.bar{fill:#4493f8}}
"""


@dataclass(frozen=True)
class Bar:
    """A ratio to the peer and its goal."""

    label: str
    value: float
    limit: float


def bars(groups: Mapping[str, Any]) -> list[Bar]:
    """Return the bars for stored results: all goals that are ratios of time or CPU to the peer's.

    :param groups: by group, as :func:`scripts.benchmarks.report.as_json` gives them.
    """
    return [
        Bar(f"{goal['scenario']}: {goal['figure']}", goal["value"], goal["limit"])
        for name, group in groups.items()
        if name not in _OTHER_PEERS
        for goal in group["goals"]
        if goal["unit"] == "x" and goal["sense"] == "<=" and goal["value"]
    ]


def svg(drawn: Sequence[Bar]) -> str:
    """Return the chart."""
    height = _TOP + _ROW * len(drawn) + _BOTTOM
    body = [_head(height), *_axis(height)]
    for index, bar in enumerate(drawn):
        body += _bar(bar, _TOP + _ROW * index)
    return "\n".join([*body, "</svg>"]) + "\n"


def _head(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="cachew compared with nginx and fcgiwrap">\n<style>{_STYLE}</style>\n'
        '<text class="title" x="12" y="22">cachew, as a multiple of nginx + fcgiwrap in the same run</text>\n'
        '<text class="small" x="12" y="40">less is better; logarithmic; red: the peer, green: the goal</text>'
    )


def _axis(height: int) -> list[str]:
    lines = []
    for value in (0.001, 0.01, 0.1, 1.0):
        x = _x(value)
        kind = "peer" if value == 1.0 else "axis"
        lines.append(f'<line class="{kind}" x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - _BOTTOM + 6}"/>')
        lines.append(f'<text class="small" x="{x}" y="{height - _BOTTOM + 24}" text-anchor="middle">{value:g}x</text>')
    return lines


def _bar(bar: Bar, y: int) -> list[str]:
    kind = "bar" if bar.value <= bar.limit else "miss"
    end, goal = _x(bar.value), _x(bar.limit)
    return [
        f'<text x="{_LABELS - 8}" y="{y + 15}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{_LABELS}" y="{y + 3}" width="{max(1.0, end - _LABELS):.1f}" height="{_ROW - 7}"/>',
        f'<line class="goal" x1="{goal}" y1="{y + 1}" x2="{goal}" y2="{y + _ROW - 2}"/>',
        f'<text class="small" x="{end + 6:.1f}" y="{y + 15}">{bar.value:.3g}x</text>',
    ]


def _x(value: float) -> float:
    """Return where a value lies on the logarithmic axis."""
    share = math.log(min(max(value, _LEAST), _MOST) / _LEAST) / math.log(_MOST / _LEAST)
    return round(_LABELS + share * (_WIDTH - _LABELS - 70), 1)
