"""What grows during a long busy time, and what only got warm."""

from scripts.soaking.samples import drawn, slopes

MINUTES = [number / 2 for number in range(20)]


def test_what_grows_steadily_is_told() -> None:
    """Three megabytes a minute, to the end, are growth, and what that makes of the judged half is told."""
    (slope,) = slopes(MINUTES, {"memory (MB)": [50 + 3 * minute for minute in MINUTES]})
    assert slope.grows
    assert abs(slope.per_minute - 3) < 1e-9
    assert abs(slope.rise - 13.5) < 1e-9


def test_getting_warm_is_no_growth() -> None:
    """What rises at first and then stays is as it should be."""
    (slope,) = slopes(MINUTES, {"memory (MB)": [min(80.0, 50 + 20 * minute) for minute in MINUTES]})
    assert not slope.grows


def test_each_figure_has_its_curve() -> None:
    """The picture names every figure, with its highest and its last value."""
    picture = drawn([0.0, 1.0], {"threads": [3.0, 9.0], "descriptors": [10.0, 7.0]})
    assert "threads: at most 9, at the end 9" in picture
    assert "descriptors: at most 10, at the end 7" in picture
    assert picture.count("<polyline") == 2
