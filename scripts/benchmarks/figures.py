"""What was measured, what it ought to be, and the arithmetic between the two (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank); NaN when there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def ratio(value: float, peer: float) -> float:
    """Return one figure as a multiple of the peer's, NaN when that is nothing."""
    return value / peer if peer else math.nan


@dataclass
class Series:
    """The runs of one server in one scenario.

    :param walls: seconds of each run.
    :param cpus: CPU seconds of the server in each run.
    :param peaks: the most memory of the server in each run, in bytes.
    :param latencies: seconds of all visits.
    :param received: bytes that clients received in each run.
    :param upstream: requests that the upstream got in each run.
    :param upload_packs: ``upload-pack`` processes of each run.
    :param failures: what went wrong.
    """

    server: str
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    upstream: list[int] = field(default_factory=list)
    upload_packs: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median."""
        return median(self.walls) if self.walls else math.nan

    @property
    def cpu(self) -> float:
        """The mean, because the kernel counts in hundredths of a second."""
        return fmean(self.cpus) if self.cpus else math.nan

    @property
    def rate(self) -> float:
        """Visits per second."""
        return len(self.latencies) / sum(self.walls) if self.walls else math.nan

    @property
    def throughput(self) -> float:
        """Bytes per second, the median."""
        return median(size / wall for size, wall in zip(self.received, self.walls, strict=True))


@dataclass(frozen=True)
class Row:
    """A line of the table.

    :param wall: seconds.
    :param cpu: CPU seconds, None where they mean nothing.
    :param peak: bytes, likewise.
    :param upstream: requests to the upstream, likewise.
    :param notes: further figures, as they are to be read.
    """

    scenario: str
    server: str
    runs: int
    wall: float
    cpu: float | None = None
    peak: int | None = None
    upstream: int | None = None
    notes: str = ""


@dataclass(frozen=True)
class Goal:
    """A figure and what it ought to be.

    :param figure: what is compared.
    :param value: what it is.
    :param limit: what it may be.
    :param sense: whether less or more is better.
    :param unit: ``x`` for ratios.
    """

    scenario: str
    figure: str
    value: float
    limit: float
    sense: Literal["<=", ">="] = "<="
    unit: str = "x"

    @property
    def passed(self) -> bool:
        """Whether it is what it ought to be; a figure that couldn't be taken is not."""
        return self.value <= self.limit if self.sense == "<=" else self.value >= self.limit


@dataclass
class Findings:
    """What a group of scenarios has found.

    :param facts: sizes of the repositories and the like.
    :param failures: wrong results; any of them fails the whole run.
    """

    group: str
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, scenario: str, series: Sequence[Series], **notes: str) -> None:
        """Add a line per server.

        :param notes: per server's name.
        """
        for one in series:
            row = Row(
                scenario=scenario,
                server=one.server,
                runs=len(one.walls),
                wall=one.wall,
                cpu=one.cpu if one.cpus else None,
                peak=max(one.peaks, default=None),
                upstream=sum(one.upstream) if one.server == "cachew" else None,
                notes=notes.get(one.server, ""),
            )
            self.rows.append(row)
            self.failures += [f"{scenario}, {one.server}: {failure}" for failure in one.failures]

    def at_most(self, scenario: str, figure: str, value: float, limit: float, unit: str = "x") -> None:
        """Add a goal where less is better."""
        self.goals.append(Goal(scenario, figure, value, limit, "<=", unit))

    def at_least(self, scenario: str, figure: str, value: float, limit: float, unit: str = "x") -> None:
        """Add a goal where more is better."""
        self.goals.append(Goal(scenario, figure, value, limit, ">=", unit))
