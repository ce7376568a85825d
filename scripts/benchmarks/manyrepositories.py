"""Ever more repositories on one server: what it costs to start with them, to be idle with them and to show them."""

import shutil
import time
from collections.abc import Sequence

from scripts.benchmarks import ports, proc
from scripts.benchmarks.cachewserver import HOST, Cachew
from scripts.benchmarks.copies import Model
from scripts.benchmarks.figures import Findings
from scripts.benchmarks.history import Shape
from scripts.benchmarks.repositories import make
from scripts.benchmarks.stage import Stage, say

_IDLE = 30.0
_IDLE_QUICK = 2.0
_LOOKS = 5
_GOALS = {3_000: (2.0, 0.020), 20_000: (10.0, 0.050)}
"""Repositories: seconds until a server with so many is ready, and CPU seconds of a look at them."""


def many_repositories(stage: Stage, counts: Sequence[int], findings: Findings) -> None:
    """Start servers with ever more mirrors, all of them copies of one, and measure each."""
    model_of = make(stage.root, "tiny", Shape(commits=3, files=3))
    stage.cachew.mirror(model_of.name)
    model = Model(stage.cachew.state, f"{HOST}/{model_of.name}", stage.work / "model.git")
    for count in counts:
        say(f"{count} repositories")
        names = [f"{model_of.name}-{number}" for number in range(count)]
        server = Cachew(
            directory=stage.work / "many",
            upstream=f"http://{ports.HOST}:{stage.upstream.port}/",
            prepare=lambda state, names=names: model.copy_to(state, names),  # type: ignore[misc]
        )
        with server:
            if (ready := server.ready_count()) != count:
                findings.failures.append(f"{count} repositories: {ready} were ready")
            measured = _measured(server, _IDLE_QUICK if stage.options.quick else _IDLE)
        findings.facts[f"{count} repositories"] = measured
        if count in _GOALS:
            until_ready, look = _GOALS[count]
            title = f"{count} repositories"
            findings.at_most(title, "seconds until ready", measured["seconds until ready"], until_ready, "s")
            findings.at_most(title, "CPU of a look", measured["CPU seconds of a look at the dashboard"], look, "s")
    shutil.rmtree(stage.work / "many", ignore_errors=True)


def _measured(cachew: Cachew, idle_for: float) -> dict[str, float]:
    """Return what the start took, CPU seconds a minute while nothing is asked, memory, and what a look costs."""
    cachew.look()
    # What a server does soon after its start is no part of being idle.
    time.sleep(idle_for / 2)
    before, begin = cachew.cpu(), time.monotonic()
    time.sleep(idle_for)
    idle = (cachew.cpu() - before) * 60 / (time.monotonic() - begin)
    before = cachew.cpu()
    for _ in range(_LOOKS):
        cachew.look()
    return {
        "seconds until ready": round(cachew.seconds_until_ready, 2),
        "CPU seconds until ready": round(cachew.cpu_until_ready, 2),
        "idle CPU seconds a minute": round(idle, 3),
        "resident MB": round(proc.resident(cachew.roots[0]) / 1e6, 1),
        "CPU seconds of a look at the dashboard": round((cachew.cpu() - before) / _LOOKS, 4),
    }
