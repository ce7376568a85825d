"""Disk: how many times a repository lies in the state directory once it has been cloned, and once only fetched."""

import subprocess
from pathlib import Path

from scripts.benchmarks import ports
from scripts.benchmarks.cachewserver import Cachew
from scripts.benchmarks.changes import clone_of, commit, fresh
from scripts.benchmarks.figures import Findings, ratio
from scripts.benchmarks.history import Shape
from scripts.benchmarks.repositories import Repository, environment, git, make
from scripts.benchmarks.stage import Stage, say

_SETTINGS = 'ref-check-interval = "1s"\nbundle-interval = "1s"\n'
_KINDS = {"mirror": "mirrors", "kept packs": "packs", "small packs": "small-packs", "snapshots and bundles": "cache"}


def disk(stage: Stage, findings: Findings) -> None:
    """Measure what lies there when all is made that is made of a repository."""
    quick = stage.options.quick
    shape = Shape(commits=400 if quick else 8000, changed=3, files=200 if quick else 2000)
    repository = make(stage.root, f"disk-{shape.commits}", shape)
    for how, most in (("cloned", 4), ("only fetched", 2)):
        say(f"disk of a repository that is {how}")
        upstream = f"http://{ports.HOST}:{stage.upstream.port}/"
        with Cachew(directory=stage.work / "disk", upstream=upstream, git=_SETTINGS) as server:
            server.mirror(repository.name)
            if how == "cloned":
                _clone(stage, server, repository)
            else:
                _fetch(stage, server, repository)
            server.wait_until_idle()
            sizes = {kind: _size(server.state / name) for kind, name in _KINDS.items()}
        findings.facts[f"bytes of a repository that is {how}"] = sizes
        times = ratio(sum(sizes.values()), sizes["mirror"])
        findings.at_most(f"disk of a repository that is {how}", "times the mirror", times, most)


def _clone(stage: Stage, server: Cachew, repository: Repository) -> None:
    """Have a full clone, a snapshot and a bundle made."""
    git("clone", "-q", "--bare", server.url(repository.name), str(fresh(stage)))
    server.act(repository.name, "snapshot")
    server.wait_for_bundles(repository.name)


def _fetch(stage: Stage, server: Cachew, repository: Repository) -> None:
    """Fetch a new commit."""
    clone = clone_of(stage, server, repository)
    commit(repository)
    words = ["git", "-C", str(clone), "fetch", "-q", "--no-tags", "--depth=1", "origin", "main"]
    subprocess.run(words, env=environment(), check=True, capture_output=True)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else 0
