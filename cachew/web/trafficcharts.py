"""What the dashboard draws of the traffic, and tells in numbers (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from cachew.web import charts
from cachew.web.charts import Chart
from cachew.web.pages import counted, duration, size
from cachew.web.traffic import Counts, TrafficWindow, total


@dataclass(frozen=True, kw_only=True)
class TrafficView:
    """What is shown of a span.

    :param span: how long it is.
    :param sum: what was counted in all of it.
    :param median: seconds in which half of the requests were answered, None when there were none.
    :param slow: seconds in which 95 of 100 were.
    :param charts: of requests, of bytes and of durations.
    """

    span: TrafficWindow
    sum: Counts
    median: float | None
    slow: float | None
    charts: Sequence[Chart]


def view(span: TrafficWindow, steps: Sequence[Counts]) -> TrafficView:
    """Return what is shown of a span's steps, the oldest first."""
    whole = total(steps)
    median, slow = whole.percentile(0.5), whole.percentile(0.95)
    return TrafficView(
        span=span,
        sum=whole,
        median=median,
        slow=slow,
        charts=[_requests(span, steps), _bytes(steps), _durations(steps)],
    )


def _requests(span: TrafficWindow, steps: Sequence[Counts]) -> Chart:
    counts = [step.requests for step in steps]
    most = max(counts, default=0)
    each = "a minute" if span.step == 1 else f"in {span.step} minutes"
    # Half of an odd number is no number of requests.
    return charts.stacked(
        f"Requests {each}",
        f"{counted(sum(counts), 'request')}, at most {most:,} {each}",
        [("requests", counts)],
        top=max(2, charts.nice(most)),
        tell=lambda value: f"{value:,.0f}",
    )


def _bytes(steps: Sequence[Counts]) -> Chart:
    cached, relayed = [step.cached for step in steps], [step.relayed for step in steps]
    return charts.stacked(
        "Bytes sent",
        f"{size(sum(cached))} from the cache, {size(sum(relayed))} from upstreams",
        [("from the cache", cached), ("from upstreams", relayed)],
        top=charts.nice_size(max((a + b for a, b in zip(cached, relayed, strict=True)), default=0)),
        tell=size,
    )


def _durations(steps: Sequence[Counts]) -> Chart:
    median, slow = ([step.percentile(part) for step in steps] for part in (0.5, 0.95))
    known = [value for value in slow if value is not None]
    return charts.curves(
        "Time to the last byte",
        f"95 of 100 requests within {duration(max(known))} at worst" if known else "no requests",
        [("half of the requests (p50)", median), ("95 of 100 (p95)", slow)],
        top=charts.nice(max(known, default=0.0)),
        tell=duration,
    )
