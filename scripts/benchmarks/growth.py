"""Growth: what a fetch of one branch costs as the refs of its repository become more, and what CI's pattern costs.

Stock git fetches from the server that is measured, from the peer, and from nobody in between: the upstream's access log
tells what it had to send. Each figure is one of changes, not of repeated requests: there is a new commit each time.
"""

import math
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from scripts.benchmarks.figures import Findings, Series, ratio
from scripts.benchmarks.history import Shape
from scripts.benchmarks.repositories import Repository, environment, git, make
from scripts.benchmarks.stage import Options, Server, Stage, say
from scripts.benchmarks.watch import Watch

FULL = (1_000, 10_000, 100_000, 500_000)
QUICK = (500, 3_000)
_INTERVAL = 1.0
_SETTINGS = f'ref-check-interval = "{_INTERVAL:g}s"\n'
_AUTHOR = ("-c", "user.name=Bench", "-c", "user.email=bench@git.example")
_COMMITS = 100


def growth(options: Options) -> Findings:
    """Measure the curves."""
    findings = Findings("growth")
    with Stage(options, git=_SETTINGS) as stage:
        for refs in QUICK if options.quick else FULL:
            _of_refs(stage, refs, findings)
    for what in ("no-op fetch", "fetch of a new commit", "depth=1 clone of a new commit"):
        _grows(findings, what)
    return findings


def _of_refs(stage: Stage, refs: int, findings: Findings) -> None:
    say(f"repository with {refs} refs")
    repository = make(stage.root, f"refs-{refs}", Shape(commits=_COMMITS, files=50, branches=refs))
    stage.cachew.mirror(repository.name)
    clones = {server: _clone(stage, server, repository) for server in stage.servers}

    def fetch(server: Server) -> list[str]:
        return ["-C", str(clones[server]), "fetch", "-q", "--no-tags", "--depth=1", "origin", "main"]

    def clone(server: Server) -> list[str]:
        return ["clone", "-q", "--bare", "--depth=1", "--no-tags", server.url(repository.name), str(_fresh(stage))]

    _scenario(stage, findings, f"no-op fetch, {refs} refs", fetch, lambda: None)
    _scenario(stage, findings, f"fetch of a new commit, {refs} refs", fetch, lambda: _commit(repository))
    _scenario(stage, findings, f"depth=1 clone of a new commit, {refs} refs", clone, lambda: _commit(repository))


def _fresh(stage: Stage) -> Path:
    directory = stage.work / "growth-clone.git"
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def _clone(stage: Stage, server: Server, repository: Repository) -> Path:
    directory = stage.work / f"growth-{server.name}.git"
    shutil.rmtree(directory, ignore_errors=True)
    git("clone", "-q", "--bare", "--depth=1", "--no-tags", server.url(repository.name), str(directory))
    return directory


def _commit(repository: Repository) -> None:
    """Put a new commit on the branch."""
    tree = repository.git("rev-parse", "main^{tree}").strip()
    new = git(*_AUTHOR, "-C", str(repository.path), "commit-tree", "-p", "main", "-m", str(time.time_ns()), tree)
    repository.git("update-ref", "refs/heads/main", new.strip())


def _scenario(
    stage: Stage, findings: Findings, name: str, command: Callable[[Server], list[str]], change: Callable[[], None]
) -> None:
    """Run a command of stock git against the servers by turns, after something has changed."""
    series = {server: Series(server.name) for server in stage.servers}
    sent: list[int] = []
    for number in range(stage.options.rounds(5)):
        for server in stage.servers:
            say(f"{name}: {server.name}, run {number + 1}")
            change()
            time.sleep(1.1 * _INTERVAL)
            before = stage.upstream.bytes_sent()
            with Watch(server.roots, server.cpu) as watch:
                begin = time.monotonic()
                subprocess.run(["git", *command(server)], env=environment(), check=True, capture_output=True)
                series[server].walls.append(time.monotonic() - begin)
                if server is stage.cachew:
                    # What goes on behind is part of the price.
                    stage.cachew.wait_until_idle()
            series[server].cpus.append(watch.cpu)
            series[server].peaks.append(watch.peak)
            if server is stage.cachew:
                sent.append(stage.upstream.bytes_sent() - before)
    notes = f"upstream sent {sum(sent) / len(sent) / 1000:.1f} kB"
    findings.add(name, list(series.values()), cachew=notes)
    findings.facts[f"{name}, bytes"] = sum(sent) // len(sent)


def _grows(findings: Findings, what: str) -> None:
    """Compare the largest repository with the smallest."""
    rows = [row for row in findings.rows if row.scenario.startswith(f"{what}, ") and row.server == "cachew"]
    first, last = rows[0], rows[-1]
    steps = [ratio(one.cpu or math.nan, other.cpu or math.nan) for other, one in pairwise(rows)]
    findings.facts[f"{what}, from step to step"] = [round(step, 2) if math.isfinite(step) else None for step in steps]
    findings.at_most(what, "CPU of the largest beside the smallest", ratio(last.cpu or 0, first.cpu or 0), 2)
