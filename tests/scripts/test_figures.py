"""Medians, ratios, goals, the table, the JSON and the chart."""

import json
import math
from xml.etree import ElementTree

from scripts.benchmarks import curves
from scripts.benchmarks.chart import bars, svg
from scripts.benchmarks.figures import Findings, Goal, Series, percentile, ratio
from scripts.benchmarks.report import as_json, table


def findings() -> Findings:
    """Two servers in one scenario, a goal reached and one missed."""
    found = Findings("clone")
    cachew = Series("cachew", walls=[0.1, 0.3, 0.2], cpus=[0.1, 0.1, 0.1], peaks=[5_000_000], upstream=[1, 0, 0])
    nginx = Series("nginx", walls=[1.0, 1.0, 2.0], cpus=[0.5], peaks=[7_000_000])
    found.add("warm clone", [cachew, nginx])
    found.at_most("warm clone", "wall", ratio(cachew.wall, nginx.wall), 0.2)
    found.at_most("warm clone", "CPU", ratio(cachew.cpu, nginx.cpu), 0.1)
    return found


def test_percentiles_are_values_that_occurred() -> None:
    """The nearest rank is returned, and NaN for nothing."""
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert math.isnan(percentile([], 0.5))


def test_a_figure_that_could_not_be_taken_reaches_no_goal() -> None:
    """NaN is neither little nor much enough."""
    assert not Goal("s", "f", math.nan, 1, "<=").passed
    assert not Goal("s", "f", math.nan, 1, ">=").passed


def test_the_table_shows_medians_ratios_and_verdicts() -> None:
    """Walls are medians, CPU is a mean, both as multiples of the peer's, and each goal is judged."""
    lines = [line.split() for line in table(findings()).splitlines()]
    assert lines[1] == ["warm", "clone", "cachew", "3", "0.200", "0.200x", "0.100", "0.200x", "5", "1"]
    assert lines[-3][-3:] == ["<=", "0.2x", "PASS"]
    assert lines[-2][-3:] == ["<=", "0.1x", "FAIL"]
    assert lines[-1] == ["1", "of", "2", "goals", "reached"]


def test_wrong_results_are_shown() -> None:
    """A failed client is told below the table."""
    found = findings()
    found.add("warm clone", [Series("cachew", failures=["status 500"])])
    assert "WRONG: warm clone, cachew: status 500" in table(found)


def test_results_are_valid_json_and_draw_a_chart() -> None:
    """NaN becomes null, and each ratio to the peer becomes a bar; what is compared with git or others becomes none."""
    found = findings()
    found.at_most("first clone", "wall", math.nan, 1)
    found.at_least("refs", "requests/s", 4, 3)
    stored = json.loads(json.dumps(as_json(found), allow_nan=False))
    drawn = bars({"clone": stored, "helper": stored, "link": stored})
    assert [bar.label for bar in drawn] == ["warm clone: wall", "warm clone: CPU"]
    root = ElementTree.fromstring(svg(drawn))
    kinds = [node.get("class") for node in root if node.tag.endswith("rect")]
    assert kinds == ["bar", "miss"]


def test_growth_is_drawn_as_curves() -> None:
    """Each thing that was measured at several sizes is a panel with a curve for each server."""
    found = Findings("growth")
    for refs in (1000, 100_000):
        found.add(f"no-op fetch, {refs} refs", [Series("cachew", [0.1], [0.02]), Series("nginx", [0.1], [0.01])])
    for commits in (8, 80):
        found.add(f"no-op fetch, {commits} commits", [Series("cachew", [0.1], [0.02])])
    for count in (10, 3000):
        found.facts[f"{count} repositories"] = {
            "CPU seconds until ready": 0.5,
            "CPU seconds of a look at the dashboard": 0.004,
        }
    drawn = curves.curves(json.loads(json.dumps(as_json(found))))
    assert [(one.what, one.server, [count for count, _ in one.points]) for one in drawn] == [
        ("no-op fetch, refs", "cachew", [1000, 100_000]),
        ("no-op fetch, refs", "nginx", [1000, 100_000]),
        ("no-op fetch, commits", "cachew", [8, 80]),
        ("until ready, repositories", "cachew", [10, 3000]),
        ("of a look at the dashboard, repositories", "cachew", [10, 3000]),
    ]
    root = ElementTree.fromstring(curves.svg(drawn))
    assert len(root.findall("{*}polyline")) == 5
    assert ElementTree.fromstring(curves.svg([])).findall("{*}polyline") == []
