"""What a whole server's ``/metrics`` shows, and whether alert rules and the Grafana dashboard ask for what is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest_twisted
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.conftest import Start
from tests.functional.repositories import make_repository
from tests.functional.upstream import Upstream

CONTRIB = Path(__file__).parents[2] / "contrib"
NAME = re.compile(r"\b(?:cachew|process)_[a-z0-9_]+")
SELECTION = re.compile(r"\b((?:cachew|process)_[a-z0-9_]+)\{([^}]*)\}")
TYPES = ("counter", "gauge", "histogram", "summary")


def lint(family: Metric, text: str) -> Iterator[str]:
    """Yield what ``promtool check metrics`` complains of (its documented rules)."""
    name = family.name
    if not family.documentation.strip():
        yield f"{name} has no help text"
    if family.type != "counter" and name.endswith("_total"):
        yield f'{name} ends in "_total" and is no counter'
    if family.type == "counter" and f"# TYPE {name}_total counter" not in text:
        yield f'{name} is a counter and does not end in "_total"'
    if family.type not in ("histogram", "summary") and re.search(r"_(bucket|count|sum)$", name):
        yield f"{name} is called as if it were a part of a histogram"
    if not re.fullmatch(r"[a-z0-9_]+", name) or any(f"_{kind}" in name for kind in TYPES):
        yield f"{name} is in camel case, or has its type in its name"
    if re.search(r"_(milliseconds|ms|minutes|hours|days|kb|mb|gb|kilobytes|megabytes|s|sec|bits)(_total)?$", name):
        yield f"{name} is not in a base unit"
    labels = {label for sample in family.samples for label in sample.labels}
    if any(not re.fullmatch(r"[a-z0-9_]+", label) for label in labels) or (
        labels & {"le"} and family.type != "histogram"
    ):
        yield f"{name} has labels {labels}"


def queries() -> list[str]:
    """Return every query of the rules and of the dashboard."""
    rules = (CONTRIB / "prometheus" / "cachew.rules.yml").read_text()
    dashboard = json.loads((CONTRIB / "grafana" / "cachew.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return [*re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n(?=        \w+:)", rules), *panels, *variables]


@pytest_twisted.ensureDeferred
async def test_metrics_are_whole_from_the_start(upstream: Upstream, start: Start) -> None:
    """Every series that a rule or a panel asks for is there at 0 from the start, names and help are clean,
    and after a request the upstream's host, by its name in the config, has its latency.
    """
    make_repository(upstream.path("org/repo"), commits=1)
    cachew = await start()
    text = (await cachew.metrics()).decode()
    families = list(text_string_to_metric_families(text))
    assert [complaint for family in families for complaint in lint(family, text)] == []
    samples = {sample.name: [] for family in families for sample in family.samples}  # type: ignore[var-annotated]
    for family in families:
        for sample in family.samples:
            samples[sample.name].append(sample)
    assert len(queries()) > 30
    for query in queries():
        names = NAME.findall(query)
        assert names and [name for name in names if name not in samples] == [], query
        for name, selection in SELECTION.findall(query):
            for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selection):
                pattern = re.escape(value) if operator == "=" else value
                found = [sample for sample in samples[name] if re.fullmatch(pattern, sample.labels.get(label, ""))]
                assert found or label == "instance", query
    for name in ("cachew_upstream_failures_total", "cachew_failures_total", "cachew_fetches_total"):
        assert {sample.value for sample in samples[name]} == {0}, name
    steps = {sample.labels["le"] for sample in samples["cachew_request_seconds_bucket"]}
    assert (len(steps), {"0.005", "60.0", "+Inf"} <= steps) == (15, True)

    await cachew.get("org/repo/info/refs?service=git-upload-pack")
    await cachew.get("org/none/info/refs?service=git-upload-pack")
    value = cachew.parts.runtime.metrics.registry.get_sample_value
    assert (value("cachew_upstream_request_seconds_count", {"host": "git.example"}) or 0) >= 2
    assert {sample.labels["host"] for sample in samples["cachew_upstream_failures_total"]} == {
        "github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "git.example", "other",
    }  # fmt: skip
    await upstream.stop()
    await cachew.get("org/other/info/refs?service=git-upload-pack")
    assert (value("cachew_upstream_failures_total", {"host": "git.example", "kind": "unreachable"}) or 0) >= 1


@pytest_twisted.ensureDeferred
async def test_every_metric_is_documented(start: Start) -> None:
    """The page on operating names each family that the server shows, and none that it doesn't."""
    cachew = await start()
    shown = {family.name for family in text_string_to_metric_families((await cachew.metrics()).decode())}
    shown = {name for name in shown if name.startswith("cachew_") and not name.endswith("_created")}
    page = (CONTRIB.parent / "docs" / "operating.md").read_text()
    told: set[str] = set()
    for line in page.split("## Metrics")[1].split("##")[0].splitlines():
        cell = line.split("|")[1] if line.count("|") >= 3 else ""
        last = ""
        for word in re.findall(r"`([a-z_]+)[^`]*`", cell):
            last = word if word.startswith("cachew_") else last
            whole = word if word.startswith("cachew_") else last.rsplit("_", 1)[0] + word
            told.add(whole.removesuffix("_total"))
            if not word.startswith("cachew_"):
                told.add(last + word)
    assert shown - told == set()
