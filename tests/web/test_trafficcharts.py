"""What is drawn of the traffic, and told in numbers."""

import pytest

from cachew.web import charts
from cachew.web.traffic import DAY, HOUR, Counts
from cachew.web.trafficcharts import view
from tests.web.test_traffic import durations


def test_charts_have_round_axes() -> None:
    """The top of an axis is a round number no less than the greatest value, and something where there is nothing."""
    assert [charts.nice(top) for top in (0, 1, 3, 41, 99, 0.3)] == [1.0, 1.0, 4.0, 50.0, 100.0, pytest.approx(0.4)]
    steps = [Counts(requests=3, cached=900, relayed=100, durations=durations(at1=3)), *[Counts()] * 59]
    requests, sent, times = view(HOUR, steps).charts
    assert list(requests.scale) == ["4", "2", "0"] and requests.bars == [(0, "M0 100v-75h8v75z")]
    assert [outline for _, outline in sent.bars] == ["M0 100v-90h8v90z", "M0 10v-10h8v10z"]
    assert [series for series, _ in times.lines] == [0, 1] and times.summary.startswith("95 of 100 requests within")
    assert HOUR.ticks == ["60 min ago", "45", "30", "15", "now"] and DAY.ticks[0] == "24 h ago"


def test_an_hour_without_traffic_is_drawn() -> None:
    """Empty charts with axes, which say that there was nothing."""
    shown = view(HOUR, [Counts()] * 60)
    assert (shown.median, shown.slow, shown.sum) == (None, None, Counts())
    requests, sent, times = shown.charts
    assert (requests.summary, times.summary) == ("no requests, at most 0 a minute", "no requests")
    assert [outline for _, outline in (*requests.bars, *sent.bars)] == ["", "", ""] and list(times.lines) == []
    assert list(requests.scale) == ["2", "1", "0"]


def test_a_day_is_told_by_its_steps() -> None:
    """What is counted together says so; a step without requests is a gap in the curve."""
    busy = Counts(requests=1, durations=durations(at3=1))
    shown = view(DAY, [busy, Counts(), busy])
    assert shown.charts[0].title == f"Requests in {DAY.step} minutes" and shown.sum.requests == 2
    assert [series for series, _ in shown.charts[2].lines] == [0, 0, 1, 1]
