"""Stock git through ``git-remote-cachew``, and ``cachew git restore``: what they cost more or less than other ways.

All that is compared runs by turns, so that what else the machine does falls on each alike; small things run often.
CPU seconds are those of a command with all that it starts, without the servers.
"""

import os
import resource
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from scripts.benchmarks.figures import Findings, Series, ratio
from scripts.benchmarks.repositories import Repository
from scripts.benchmarks.snapshot import Check, client, printed, shell, wrong_in
from scripts.benchmarks.stage import Stage, say

_RAM = Path("/dev/shm")
_STATUS = "import os, resource, subprocess, sys; code = subprocess.run(sys.argv[2:]).returncode; "
_STATUS += "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)"


def helped(stage: Stage) -> Findings:
    """Run the scenarios."""
    findings = Findings("helper")
    repositories = {name: stage.repository(name) for name in ("five-mb", "medium")}
    repositories["large"] = stage.repository("large", given=True)
    for name, repository in repositories.items():
        printed(f"curl -sSf -o /dev/null {stage.cachew.url(repository.name)}/snapshot.tar.zst")
        stage.cachew.wait_until_idle()
        findings.facts[name] = repository.facts()
    client(stage.work / "bin")
    starting(stage, findings)
    fetching(stage, repositories["five-mb"], findings)
    small(stage, repositories["five-mb"], findings)
    in_memory(stage, repositories["medium"], findings)
    large(stage, repositories["large"], findings)
    remembering(stage, repositories["large"], findings)
    return findings


def starting(stage: Stage, findings: Findings) -> None:
    """Start the helper, which has nothing to do."""
    name, program = "helper, start", shlex.quote(str(stage.work / "bin/git-remote-cachew"))
    series = turns(stage, name, {"helper": f"{program} || true", "python": f"{sys.executable} -ES -c pass"}, rounds=20)
    told(findings, name, series)
    findings.at_most(name, "CPU to start", series["helper"].cpu * 1e3, 40, "ms")
    findings.at_most(name, "time to start", median(series["helper"].walls) * 1e3, 40, "ms")


def fetching(stage: Stage, repository: Repository, findings: Findings) -> None:
    """Fetch what is there already."""
    name, plain = "no-op fetch", stage.cachew.url(repository.name)
    with tempfile.TemporaryDirectory(dir=stage.work) as directory:
        clone = shlex.quote(f"{directory}/clone")
        printed(f"git clone -q {plain} {clone}")
        printed(f"git -C {clone} config remote.origin.lfsurl {plain}/info/lfs")
        fetch = f"git -C {clone} fetch -q"
        commands = {"helper": f"{_with_helper(stage)} {fetch} cachew::{plain}", "git": f"{fetch} {plain}"}
        series = turns(stage, name, commands, rounds=20)
    told(findings, name, series)
    more = median(one - other for one, other in zip(series["helper"].walls, series["git"].walls, strict=True))
    findings.at_most(name, "helper, more time than git", more * 1e3, 60, "ms")
    findings.at_most(name, "helper, more CPU than git", (series["helper"].cpu - series["git"].cpu) * 1e3, 60, "ms")


def small(stage: Stage, repository: Repository, findings: Findings) -> None:
    """Clone a repository of 5 MB, where starts of processes count as much as bytes."""
    name = "5 MB"
    series = turns(stage, name, _ways(stage, repository), rounds=10, check=_check(repository), place=_ram(stage))
    told(findings, name, series)
    findings.at_most(name, "helper, of a clone through the server", by_pairs(series, "helper", "git clone"), 1)
    findings.at_most(name, "restore", series["cachew"].wall, 0.2, "s")
    findings.at_most(name, "restore, CPU", series["cachew"].cpu, 0.2, "s")


def in_memory(stage: Stage, repository: Repository, findings: Findings) -> None:
    """Restore 2,000 files where the disk costs nothing."""
    name = "2,000 files in memory"
    ways = _ways(stage, repository)
    del ways["git clone"], ways["helper"]
    series = turns(stage, name, ways, rounds=10, check=_check(repository), place=_ram(stage))
    told(findings, name, series)
    findings.at_most(name, "restore, of curl|zstd|tar", by_pairs(series, "cachew", "curl|zstd|tar"), 0.9)


def large(stage: Stage, repository: Repository, findings: Findings) -> None:
    """Clone a large repository."""
    name, ways = "large", _ways(stage, repository)
    ways["git clone"] = f"git clone -q {stage.upstream.url(repository.name)} DIR"
    series = turns(stage, name, ways, rounds=3, check=_check(repository))
    told(findings, name, series)
    faster = by_pairs(series, "git clone", "helper")
    findings.at_least(name, "helper, times faster than git clone of the upstream", faster, 12)
    findings.at_most(name, "helper, of a restore", by_pairs(series, "helper", "cachew"), 1.5)


def remembering(stage: Stage, repository: Repository, findings: Findings) -> None:
    """See how much memory it takes."""
    name = "memory"
    with tempfile.TemporaryDirectory(dir=stage.work) as directory:
        place = Path(directory)
        watching = place / "git-remote-cachew"
        real = shlex.quote(str(stage.work / "bin/git-remote-cachew"))
        program = f"{sys.executable} -c {shlex.quote(_STATUS)}"
        watching.write_text(f'#!/bin/sh\nexec {program} {shlex.quote(str(place / "helper"))} {real} "$@"\n')
        watching.chmod(0o755)
        printed(
            f"PATH={shlex.quote(directory)}:$PATH git clone -q cachew::{stage.cachew.url(repository.name)} {place}/a"
        )
        printed(f"{program} {place}/cachew {_restore(stage, repository)} {place}/b")
        for what in ("helper", "cachew"):
            findings.at_most(name, what, int((place / what).read_text()) / 1e3, 100, "MB")


def turns(
    stage: Stage,
    name: str,
    commands: Mapping[str, str],
    *,
    rounds: int,
    check: Check | None = None,
    place: Path | None = None,
) -> dict[str, Series]:
    """Time commands by turns; see :func:`scripts.benchmarks.snapshot.by_turns`.

    :param place: where the directories are made that the commands make.
    """
    series = {one: Series(one) for one in commands}
    rounds = stage.options.rounds(rounds)
    directory = Path(tempfile.mkdtemp(dir=place or stage.work))
    try:
        for number in range(rounds):
            say(f"{name}, round {number + 1} of {rounds}")
            for one, command in list(commands.items())[:: 1 if number % 2 else -1]:
                target = directory / f"{number}-{len(series[one].walls)}-{one.replace(' ', '-').replace('|', '-')}"
                if place is None:
                    os.sync()
                before = _spent()
                series[one].walls.append(shell(command.replace("DIR", shlex.quote(str(target)))))
                series[one].cpus.append(_spent() - before)
                if check is not None and number == 0:
                    series[one].failures += check(target)
                if place is not None:
                    shutil.rmtree(target, ignore_errors=True)
    finally:
        shutil.rmtree(directory)
    return series


def by_pairs(series: Mapping[str, Series], one: str, other: str) -> float:
    """Return how long one takes in terms of another that ran just before or after it: the median of all rounds."""
    pairs = zip(series[one].walls, series[other].walls, strict=True)
    return median(ratio(first, second) for first, second in pairs)


def told(findings: Findings, name: str, series: Mapping[str, Series]) -> None:
    """Add the rows of a scenario."""
    findings.add(name, list(series.values()))


def _ways(stage: Stage, repository: Repository) -> dict[str, str]:
    url = stage.cachew.url(repository.name)
    return {
        "cachew": f"{_restore(stage, repository)} DIR",
        "helper": f"{_with_helper(stage)} git clone -q cachew::{url} DIR",
        "git clone": f"git clone -q {url} DIR",
        # tar may stop before the padding behind the archive's end, which zstd then complains about.
        "curl|zstd|tar": f"mkdir DIR && {{ curl -sSf {url}/snapshot.tar.zst | zstd -dc || true; }} | tar -xC DIR",
    }


def _restore(stage: Stage, repository: Repository) -> str:
    program = shlex.quote(str(stage.work / "bin/cachew"))
    return f"{program} --url {stage.cachew.address} git restore {stage.cachew.url(repository.name)}"


def _with_helper(stage: Stage) -> str:
    return f"PATH={shlex.quote(str(stage.work / 'bin'))}:$PATH"


def _check(repository: Repository) -> Check:
    head = repository.git("rev-parse", "HEAD").strip()
    return lambda checkout: wrong_in(checkout, head)


def _ram(stage: Stage) -> Path:
    return _RAM if os.access(_RAM, os.W_OK) else stage.work


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
