"""CI's pattern: after each push some jobs clone the new commit; the first of them should find what it will ask for."""

import subprocess
import time
from statistics import median

from scripts.benchmarks.changes import INTERVAL, commit, fresh
from scripts.benchmarks.figures import Findings, Series, ratio
from scripts.benchmarks.history import Shape
from scripts.benchmarks.repositories import Repository, environment, make
from scripts.benchmarks.stage import Server, Stage, say
from scripts.benchmarks.watch import Watch

_JOBS = 5
_LEARNING = 3
"""Pushes until it is known what jobs ask for."""


def jobs(stage: Stage, findings: Findings) -> None:
    """Measure the first job after a push beside the second, and all of them beside the peer's."""
    repository = make(stage.root, "ci", Shape(commits=2000, changed=3, files=400))
    stage.cachew.mirror(repository.name)
    first, second = Series("cachew"), Series("cachew")
    together = {server: Series(server.name) for server in stage.servers}
    for number in range(_LEARNING + stage.options.rounds(5)):
        for server in stage.servers:
            say(f"jobs of a push: {server.name}, push {number + 1}")
            # What is made ahead is part of the price.
            with Watch(server.roots, server.cpu) as watch:
                _push(stage, server, repository)
                walls = [_clone(stage, server, repository) for _ in range(_JOBS)]
            if number < _LEARNING:
                continue
            together[server].walls.append(sum(walls))
            together[server].cpus.append(watch.cpu)
            if server is stage.cachew:
                first.walls.append(walls[0])
                second.walls.append(walls[1])
    findings.add("first depth=1 clone after a push", [first])
    findings.add("second depth=1 clone after a push", [second])
    findings.add(f"{_JOBS} depth=1 clones after a push", list(together.values()))
    time_of_first = ratio(median(first.walls), median(second.walls))
    findings.at_most("first depth=1 clone after a push", "time beside the second", time_of_first, 1.3)
    cpu = ratio(together[stage.cachew].cpu, together[stage.peer].cpu)
    findings.at_most(f"{_JOBS} depth=1 clones after a push", "CPU", cpu, 0.5)


def _push(stage: Stage, server: Server, repository: Repository) -> None:
    """Put a new commit on the branch; the server learns of it, as by a webhook, and has its time."""
    commit(repository)
    time.sleep(1.1 * INTERVAL)
    _git("ls-remote", server.url(repository.name), "refs/heads/main")
    if server is stage.cachew:
        stage.cachew.wait_until_idle()


def _clone(stage: Stage, server: Server, repository: Repository) -> float:
    directory = fresh(stage)
    begin = time.monotonic()
    _git("clone", "-q", "--bare", "--depth=1", server.url(repository.name), str(directory))
    return time.monotonic() - begin


def _git(*words: str) -> None:
    subprocess.run(["git", *words], env=environment(), check=True, capture_output=True)
