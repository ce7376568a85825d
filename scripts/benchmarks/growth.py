"""Growth: what a fetch of one branch costs as refs, history and repositories become more, and what CI's pattern costs.

Stock git fetches from the server that is measured, from the peer, and from nobody in between: the upstream's access log
tells what it had to send. Each figure is one of changes, not of repeated requests: there is a new commit each time.
"""

import math
import re
from itertools import pairwise

from scripts.benchmarks.changes import SETTINGS, clone_of, commit, fresh, scenario
from scripts.benchmarks.disk import disk
from scripts.benchmarks.fairness import fairness
from scripts.benchmarks.figures import Findings, ratio
from scripts.benchmarks.history import Shape
from scripts.benchmarks.jobs import jobs
from scripts.benchmarks.manyrepositories import many_repositories
from scripts.benchmarks.repositories import make
from scripts.benchmarks.stage import Options, Server, Stage, say

FULL = (1_000, 10_000, 100_000, 500_000)
QUICK = (500, 3_000)
FULL_HISTORY = (8_000, 80_000, 800_000)
QUICK_HISTORY = (200, 800)
"""Commits; a thousand make a little more than a megabyte."""
FULL_REPOSITORIES = (10, 100, 1_000, 3_000, 20_000)
QUICK_REPOSITORIES = (2, 6)
_COMMITS = 100


def growth(options: Options) -> Findings:
    """Measure the curves."""
    findings = Findings("growth")
    with Stage(options, git=SETTINGS) as stage:
        for refs in QUICK if options.quick else FULL:
            _of_refs(stage, refs, findings)
        for commits in QUICK_HISTORY if options.quick else FULL_HISTORY:
            _of_history(stage, commits, findings)
        jobs(stage, findings)
        disk(stage, findings)
        fairness(stage, findings)
        many_repositories(stage, QUICK_REPOSITORIES if options.quick else FULL_REPOSITORIES, findings)
    for what in ("no-op fetch", "fetch of a new commit", "depth=1 clone of a new commit"):
        _grows(findings, what, "refs")
    _grows(findings, "fetch of a new commit", "commits")
    return findings


def _of_refs(stage: Stage, refs: int, findings: Findings) -> None:
    say(f"repository with {refs} refs")
    repository = make(stage.root, f"refs-{refs}", Shape(commits=_COMMITS, files=50, branches=refs))
    stage.cachew.mirror(repository.name)
    clones = {server: clone_of(stage, server, repository) for server in stage.servers}

    def fetch(server: Server) -> list[str]:
        return ["-C", str(clones[server]), "fetch", "-q", "--no-tags", "--depth=1", "origin", "main"]

    def clone(server: Server) -> list[str]:
        return ["clone", "-q", "--bare", "--depth=1", "--no-tags", server.url(repository.name), str(fresh(stage))]

    scenario(stage, findings, f"no-op fetch, {refs} refs", fetch, lambda: None)
    scenario(stage, findings, f"fetch of a new commit, {refs} refs", fetch, lambda: commit(repository))
    scenario(stage, findings, f"depth=1 clone of a new commit, {refs} refs", clone, lambda: commit(repository))

    def list_all(server: Server) -> list[str]:
        return ["ls-remote", server.url(repository.name)]

    scenario(
        stage,
        findings,
        f"ls-remote of everything after a new commit, {refs} refs",
        list_all,
        lambda: commit(repository),
    )


def _of_history(stage: Stage, commits: int, findings: Findings) -> None:
    say(f"repository with {commits} commits")
    repository = make(stage.root, f"history-{commits}", Shape(commits=commits, files=50))
    findings.facts[f"{commits} commits, bytes"] = repository.pack_bytes()
    stage.cachew.mirror(repository.name)
    clones = {server: clone_of(stage, server, repository) for server in stage.servers}

    def fetch(server: Server) -> list[str]:
        return ["-C", str(clones[server]), "fetch", "-q", "--no-tags", "--depth=1", "origin", "main"]

    scenario(stage, findings, f"fetch of a new commit, {commits} commits", fetch, lambda: commit(repository))


def _grows(findings: Findings, what: str, over: str) -> None:
    """Compare the largest repository with the smallest.

    :param over: what it has more of.
    """
    name = re.compile(rf"{re.escape(what)}, \d+ {over}")
    rows = [row for row in findings.rows if name.fullmatch(row.scenario) and row.server == "cachew"]
    first, last = rows[0], rows[-1]
    steps = [ratio(one.cpu or math.nan, other.cpu or math.nan) for other, one in pairwise(rows)]
    title = f"{what}, {over}"
    findings.facts[f"{title}, from step to step"] = [round(step, 2) if math.isfinite(step) else None for step in steps]
    findings.at_most(title, "CPU of the largest beside the smallest", ratio(last.cpu or 0, first.cpu or 0), 2)
