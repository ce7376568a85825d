"""Reads the traffic off the metrics, keeps its history and writes that down once a minute."""

from collections.abc import Iterator

from prometheus_client import Counter, Histogram

from cachew.plumbing.clock import Clock
from cachew.plumbing.metrics import Metrics
from cachew.web.traffic import BOUNDS, Counts, Traffic, TrafficWindow
from cachew.web.trafficfile import TrafficFile

_OURS = frozenset({"memory", "mirror", "packcache", "cache", "made"})
"""Where answers come from that no upstream had to give."""
_PUSHES = "git git-receive-pack"


class TrafficHistory:
    """The history of what clients were answered.

    :param metrics: what has been counted.
    :param file: where it is kept across restarts.
    :param clock: tells the time of day.
    """

    def __init__(self, *, metrics: Metrics, file: TrafficFile, clock: Clock) -> None:
        self._metrics = metrics
        self._file = file
        self._clock = clock
        self._traffic = Traffic()
        self._saved = int(clock.now() // 60)
        self._answers = 0

    async def load(self) -> None:
        """Recall what an earlier run has counted."""
        self._traffic.recall(await self._file.read())

    async def sample(self) -> None:
        """Read what has been counted, if anything was answered since; to be run every few seconds."""
        now = self._clock.now()
        self._note_new(now)
        if int(now // 60) != self._saved:
            self._saved = int(now // 60)
            await self.save()

    async def save(self) -> None:
        """Write down what has changed."""
        self._note_new(self._clock.now())
        await self._file.write(self._traffic.unsaved())

    def _note_new(self, now: float) -> None:
        if self._metrics.answers != self._answers:
            self._answers = self._metrics.answers
            self._traffic.note(now, counted(self._metrics))

    def steps(self, span: TrafficWindow) -> list[Counts]:
        """Return the steps of a span that ends now, the oldest first."""
        now = self._clock.now()
        self._note_new(now)
        return self._traffic.steps(now, span)


def counted(metrics: Metrics) -> Counts:
    """Return what has been counted of requests for repositories since the start."""
    served = dict(_by_label(metrics.served, "source"))
    sent = dict(_by_label(metrics.response_bytes, "source"))
    durations = _durations(metrics.request_seconds)
    return Counts(
        requests=sum(durations),
        hits=sum(count for source, count in served.items() if source != "upstream"),
        misses=served.get("upstream", 0),
        cached=sum(count for source, count in sent.items() if source in _OURS),
        relayed=sent.get("upstream", 0),
        durations=durations,
    )


def _by_label(metric: Counter, label: str) -> Iterator[tuple[str, int]]:
    for family in metric.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                yield sample.labels[label], int(sample.value)


def _durations(metric: Histogram) -> tuple[int, ...]:
    """Return how many requests took how long: of those that read repositories."""
    up_to = [0] * (len(BOUNDS) + 1)
    places = {**{bound: place for place, bound in enumerate(BOUNDS)}, float("inf"): len(BOUNDS)}
    for family in metric.collect():
        for sample in family.samples:
            route = sample.labels.get("route", "")
            if sample.name.endswith("_bucket") and route.startswith("git ") and route != _PUSHES:
                place = places.get(float(sample.labels["le"]))
                if place is not None:
                    up_to[place] += int(sample.value)
    return tuple(count - before for count, before in zip(up_to, [0, *up_to], strict=False))
