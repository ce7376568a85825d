"""Fairness: what the clients of a small repository wait for while sixty of another's have expensive packs made."""

import time
from collections.abc import Sequence
from dataclasses import replace

from scripts.benchmarks.connection import Visit
from scripts.benchmarks.exchange import Exchange, is_fetch
from scripts.benchmarks.figures import Findings, Series, percentile, ratio
from scripts.benchmarks.history import Shape
from scripts.benchmarks.load import Plan, Running
from scripts.benchmarks.repositories import Repository, make
from scripts.benchmarks.stage import Stage, say
from scripts.benchmarks.watch import Watch

_CROWD = 60
_UNTIL_FULL = 1.0
"""Seconds until all places are held."""
_PAUSE = 0.02
_DEPTHS = range(100, 1000)
"""Each makes another request, as large as the others, with the same answer."""


def fairness(stage: Stage, findings: Findings) -> None:
    """Measure small requests alone and beside the crowd, those with a kept answer and those that take a process."""
    large = make(stage.root, "ci", Shape(commits=2000, changed=3, files=400))
    small = make(stage.root, "tiny", Shape(commits=3, files=3))
    for repository in (large, small):
        stage.cachew.mirror(repository.name)
    crowd = stage.record(large, "clone", "-q", "--bare", "URL", "DIR")
    asking = stage.record(small, "clone", "-q", "--bare", f"--depth={_DEPTHS[0]}", "URL", "DIR")
    kept = [asking]
    made = [_deepened(asking, depth) for depth in _DEPTHS]
    for name, exchanges in (("kept pack", kept), ("depth=1 pack that is made", made)):
        half = len(exchanges) // 2
        say(f"{name}: alone")
        alone, _ = _probed(stage, small, exchanges[:half] or exchanges, [])
        say(f"{name}: beside a crowd")
        visits = [stage.visit(stage.cachew, large, stage.never_seen(crowd)) for _ in range(_CROWD)]
        beside, failures = _probed(stage, small, exchanges[half:], visits)
        title = f"{name} of a small repository beside {_CROWD} expensive fetches of another"
        findings.failures += failures
        findings.add(title, [beside], cachew=f"alone {_p99(alone):.1f} ms, beside {_p99(beside):.1f} ms (p99)")
        findings.at_most(title, "p99 beside its p99 alone", ratio(_p99(beside), _p99(alone)), 2)


def _p99(series: Series) -> float:
    return percentile(series.latencies, 0.99) * 1e3


def _deepened(exchanges: Sequence[Exchange], depth: int) -> list[Exchange]:
    """Return the same exchanges with another depth, whose answer no cache has."""
    old, new = (f"deepen {number}".encode() for number in (_DEPTHS[0], depth))
    return [replace(one, body=one.body.replace(old, new)) if is_fetch(one) else one for one in exchanges]


def _probed(
    stage: Stage, small: Repository, exchanges: Sequence[Sequence[Exchange]], crowd: Sequence[Visit]
) -> tuple[Series, list[str]]:
    """Return how small requests fared, one after the other, and what went wrong with the crowd."""
    server = stage.cachew
    visits = tuple(stage.visit(server, small, one) for one in exchanges)
    seconds = 3.0 if stage.options.quick else 10.0
    series, failures = Series(server.name), []
    with Watch(server.roots, server.cpu) as watch:
        running = [Running(Plan(tuple(crowd), clients=_CROWD))] if crowd else []
        if running:
            time.sleep(_UNTIL_FULL)
        probing = Running(Plan(visits, seconds=seconds, pause=_PAUSE)).result()
        for one in running:
            failures += one.result().failures[:3]
    series.walls.append(probing.wall)
    series.cpus.append(watch.cpu)
    series.peaks.append(watch.peak)
    series.latencies += probing.latencies
    series.failures += probing.failures[:3]
    return series, failures
