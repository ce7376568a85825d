"""Ever more repositories on one server: what it costs to have them, to be idle with them and to show them."""

import shutil
import time
from collections.abc import Sequence

from scripts.benchmarks import proc
from scripts.benchmarks.figures import Findings
from scripts.benchmarks.history import Shape
from scripts.benchmarks.repositories import make
from scripts.benchmarks.stage import Stage, say

_IDLE = 20.0


def many_repositories(stage: Stage, counts: Sequence[int], findings: Findings) -> None:
    """Mirror ever more repositories, and measure after each step."""
    model = make(stage.root, "tiny", Shape(commits=3, files=3))
    names: list[str] = []
    for count in counts:
        say(f"{count} repositories")
        for number in range(len(names), count):
            copy = stage.root / f"tiny-{number}.git"
            if not copy.exists():
                shutil.copytree(model.path, copy)
            names.append(f"tiny-{number}")
        stage.cachew.mirror_all(names)
        findings.facts[f"{count} repositories"] = _measured(stage)


def _measured(stage: Stage) -> dict[str, float]:
    """Return CPU seconds a minute while nothing is asked, memory, and what a look at the repositories costs."""
    cachew = stage.cachew
    before, begin = cachew.cpu(), time.monotonic()
    time.sleep(2.0 if stage.options.quick else _IDLE)
    idle = (cachew.cpu() - before) * 60 / (time.monotonic() - begin)
    before = cachew.cpu()
    for _ in range(5):
        cachew.look()
    return {
        "idle CPU seconds a minute": round(idle, 3),
        "resident MB": round(proc.resident(cachew.roots[0]) / 1e6, 1),
        "CPU seconds of a look at the dashboard": round((cachew.cpu() - before) / 5, 4),
    }
