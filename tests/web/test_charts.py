"""The geometry of charts."""

import pytest

from cachew.web import charts
from cachew.web.charts import HEIGHT, WIDTH


def told(value: float) -> str:
    """Write a value."""
    return f"{value:g}"


@pytest.mark.parametrize(
    ("top", "rounded"),
    [(0, 1), (-3, 1), (1, 1), (1.01, 2), (3, 4), (4.1, 5), (5.1, 10), (1000, 1000), (1001, 2000), (0.003, 0.004)],
)
def test_the_top_of_an_axis_is_round(top: float, rounded: float) -> None:
    """It is the next of 1, 2, 4 and 5, and what is ten times as much."""
    assert charts.nice(top) == pytest.approx(rounded)


@pytest.mark.parametrize("exponent", range(-6, 13))
def test_powers_of_ten_stay_what_they_are(exponent: int) -> None:
    """However logarithms are rounded."""
    assert charts.nice(10.0**exponent) == pytest.approx(10.0**exponent)


def test_an_axis_of_bytes_has_a_kilobyte() -> None:
    """Less looks like nothing."""
    assert [charts.nice_size(top) for top in (0, 999, 1001)] == [1000, 1000, 2000]


def test_bars_lie_upon_one_another() -> None:
    """Each begins where the one below ends; what is nothing has no outline, what is little is seen."""
    chart = charts.stacked("t", "s", [("a", [50, 0, 0]), ("b", [50, 100, 0])], top=100, tell=told)
    assert chart.bars == [(0, "M0 100v-50h160v50z"), (1, "M0 50v-50h160v50zM200 100v-100h160v100z")]
    assert (chart.names, chart.scale) == (["a", "b"], ["100", "50", "0"])
    tiny = charts.stacked("t", "s", [("a", [1])], top=1_000_000, tell=told)
    assert tiny.bars == [(0, f"M0 {HEIGHT}v-1h{0.8 * WIDTH:g}v1z")]


def test_no_columns_are_no_bars() -> None:
    """A chart of no steps has nothing in it."""
    assert charts.stacked("t", "s", [("a", [])], top=1, tell=told).bars == [(0, "")]
    assert charts.curves("t", "s", [("a", [])], top=1, tell=told).lines == []


def test_a_curve_has_gaps() -> None:
    """Where nothing is known it is broken off; a value alone is as wide as its step, one above the top lies there."""
    chart = charts.curves(
        "t", "s", [("a", [None, 5, None, 10, 99]), ("b", [0, None, None, None, None])], top=10, tell=told
    )
    assert chart.lines == [(0, "120,50 180,50"), (0, "360,0 420,0 540,0"), (1, "0,100 60,100")]
