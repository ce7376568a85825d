"""The geometry of curves and bars, for templates that draw them as SVG (pure).

Shapes are stretched to whatever width there is, so what is written at the axes is text beside them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 100


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a template draws.

    :param title: what it is of.
    :param summary: what it shows, in words.
    :param scale: what is written at the axis: its top, its middle and its foot.
    :param names: what the series are called.
    :param bars: the outlines of each series' bars.
    :param lines: of curves, the points of each series' pieces.
    """

    title: str
    summary: str
    scale: Sequence[str]
    names: Sequence[str]
    bars: Sequence[tuple[int, str]] = ()
    lines: Sequence[tuple[int, str]] = ()


def nice(top: float) -> float:
    """Return a round number that is no less: the top of an axis."""
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= top * (1 - 1e-9))


def nice_size(top: float) -> float:
    """Return the same of a size in bytes, at least a kilobyte."""
    return nice(max(top, 1000))


def stacked(
    title: str, summary: str, series: Sequence[tuple[str, Sequence[int]]], *, top: float, tell: Callable[[float], str]
) -> Chart:
    """Return a chart of bars, one a step, in which series lie upon one another.

    :param top: of its axis.
    :param tell: writes a value.
    """
    columns = list(zip(*(values for _, values in series), strict=True))
    outlines = [
        [_bar(place, len(columns), column, number, top) for place, column in enumerate(columns)]
        for number in range(len(series))
    ]
    bars = [(number, "".join(pieces)) for number, pieces in enumerate(outlines)]
    return Chart(title=title, summary=summary, scale=_scale(top, tell), names=[name for name, _ in series], bars=bars)


def _bar(place: int, places: int, column: Sequence[int], number: int, top: float) -> str:
    """Return the outline of one bar of a column, nothing where there is nothing."""
    if not column[number]:
        return ""
    width, foot = WIDTH / places, HEIGHT - HEIGHT * sum(column[:number]) / top
    height = max(1, round(HEIGHT * column[number] / top))
    return f"M{place * width:g} {round(foot)}v-{height}h{0.8 * width:g}v{height}z"


def curves(
    title: str,
    summary: str,
    series: Sequence[tuple[str, Sequence[float | None]]],
    *,
    top: float,
    tell: Callable[[float], str],
) -> Chart:
    """Return a chart of curves; where nothing is known there is a gap.

    :param top: of its axis.
    :param tell: writes a value.
    """
    lines = [(number, piece) for number, (_, values) in enumerate(series) for piece in _pieces(values, top)]
    return Chart(title=title, summary=summary, scale=_scale(top, tell), names=[name for name, _ in series], lines=lines)


def _scale(top: float, tell: Callable[[float], str]) -> Sequence[str]:
    return [tell(top), tell(top / 2), tell(0)]


def _pieces(values: Sequence[float | None], top: float) -> list[str]:
    """Return the points of each piece of a curve; a value alone is as wide as its step."""
    width = WIDTH / max(len(values), 1)
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        y = f"{HEIGHT - HEIGHT * min(value, top) / top:.0f}"
        pieces[-1].append(f"{(place + 0.5) * width:g},{y}")
        if len(pieces[-1]) == 1:
            pieces[-1].insert(0, f"{place * width:g},{y}")
    return [" ".join(piece) for piece in pieces if piece]
