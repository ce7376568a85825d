"""Changes, and what they cost: a new commit each time, then a command of stock git against the servers by turns."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.figures import Findings, Series
from scripts.benchmarks.repositories import Repository, environment, git
from scripts.benchmarks.stage import Server, Stage, say
from scripts.benchmarks.watch import Watch

INTERVAL = 1.0
"""Seconds for which a listing is good."""
SETTINGS = f'ref-check-interval = "{INTERVAL:g}s"\n'
_AUTHOR = ("-c", "user.name=Bench", "-c", "user.email=bench@git.example")


def fresh(stage: Stage) -> Path:
    """Return where a clone goes that nobody keeps."""
    directory = stage.work / "growth-clone.git"
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def clone_of(stage: Stage, server: Server, repository: Repository) -> Path:
    """Clone the last commit of a repository's branch; return where that is."""
    directory = stage.work / f"growth-{server.name}.git"
    shutil.rmtree(directory, ignore_errors=True)
    git("clone", "-q", "--bare", "--depth=1", "--no-tags", server.url(repository.name), str(directory))
    return directory


def commit(repository: Repository) -> None:
    """Put a new commit on the branch."""
    tree = repository.git("rev-parse", "main^{tree}").strip()
    new = git(*_AUTHOR, "-C", str(repository.path), "commit-tree", "-p", "main", "-m", str(time.time_ns()), tree)
    repository.git("update-ref", "refs/heads/main", new.strip())


def scenario(
    stage: Stage, findings: Findings, name: str, command: Callable[[Server], list[str]], change: Callable[[], None]
) -> None:
    """Run a command of stock git against the servers by turns, after something has changed."""
    series = {server: Series(server.name) for server in stage.servers}
    sent: list[int] = []
    turns, asking = stage.cachew.turns(), stage.cachew.cost_of_asking()
    for number in range(stage.options.rounds(5)):
        for server in stage.servers:
            say(f"{name}: {server.name}, run {number + 1}")
            change()
            time.sleep(1.1 * INTERVAL)
            before, asked = stage.upstream.bytes_sent(), 0
            with Watch(server.roots, server.cpu) as watch:
                begin = time.monotonic()
                subprocess.run(["git", *command(server)], env=environment(), check=True, capture_output=True)
                series[server].walls.append(time.monotonic() - begin)
                if server is stage.cachew:
                    # What goes on behind is part of the price, but not what it costs to find out that it has ended.
                    asked = stage.cachew.wait_until_idle()
            series[server].cpus.append(watch.cpu - asked * asking)
            series[server].peaks.append(watch.peak)
            if server is stage.cachew:
                sent.append(stage.upstream.bytes_sent() - before)
    notes = f"upstream sent {sum(sent) / len(sent) / 1000:.1f} kB"
    findings.add(name, list(series.values()), cachew=notes)
    findings.facts[f"{name}, bytes"] = sum(sent) // len(sent)
    findings.at_most(name, "longest turn of the reactor", stage.cachew.turns().since(turns).latest, 0.05, "s")
