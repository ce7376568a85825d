"""Crowds: many clients that fetch the same new commits, list refs, find nothing new, or read slowly."""

import shutil
import time
from collections.abc import Callable, Sequence

from scripts.benchmarks import ports
from scripts.benchmarks.clone import check_answers, plans
from scripts.benchmarks.connection import Visit
from scripts.benchmarks.exchange import Exchange
from scripts.benchmarks.figures import Findings, Series, percentile, ratio
from scripts.benchmarks.load import Plan, Running
from scripts.benchmarks.repositories import Repository, git
from scripts.benchmarks.stage import Server, Stage
from scripts.benchmarks.watch import Watch


def fetches(stage: Stage) -> Findings:
    """Let 50 clients at the same base fetch 100 commits that none of them has, and no server has packed before."""
    findings = Findings("fetch")
    repository = stage.repository("medium")
    base = stage.work / "base.git"
    shutil.rmtree(base, ignore_errors=True)
    url = f"file://{repository.path}"
    git("clone", "-q", "--bare", "--single-branch", "--no-tags", "--branch", "base", url, str(base))
    exchanges = stage.record(repository, "-C", str(base), "fetch", "-q", "--no-tags", "URL", "main")
    name = "fetch of 100 commits, 50 clients"
    sizes = check_answers(stage, repository, exchanges, findings, name)
    each = plans(stage, repository, 50, lambda: stage.never_seen(exchanges), sizes)
    cachew, nginx = series = stage.compare(name, each, rounds=stage.options.rounds(5))
    findings.add(name, series, cachew=f"upload-packs {cachew.upload_packs}")
    findings.at_most(name, "wall", ratio(cachew.wall, nginx.wall), 0.2)
    return findings


def listings(stage: Stage) -> Findings:
    """Let 32 clients list 50,000 refs, and let 32 find nothing new, as fast as they get answers."""
    findings = Findings("refs")
    many = stage.repository("many-refs")
    findings.facts["many-refs"] = many.facts()
    listing = stage.record(many, "ls-remote", "-q", "URL")
    _requests(stage, many, listing, findings, "ls-remote")
    medium = stage.repository("medium", given=True)
    copy = stage.work / "current.git"
    shutil.rmtree(copy, ignore_errors=True)
    git("clone", "-q", "--bare", "--local", str(medium.path), str(copy))
    nothing = stage.record(medium, "-C", str(copy), "fetch", "-q", "--no-tags", "URL", "main")
    _requests(stage, medium, nothing, findings, "no-op fetch")
    check_refs(stage, many, findings)
    return findings


def check_refs(stage: Stage, repository: Repository, findings: Findings) -> None:
    """Compare what ``git ls-remote`` shows with the refs that there are."""
    for server in stage.servers:
        lines = git("ls-remote", "--refs", "-q", server.url(repository.name)).splitlines()
        got = {name: oid for oid, name in (line.split("\t") for line in lines)}
        got.pop("HEAD", None)
        if got != repository.refs():
            findings.failures.append(f"ls-remote, {server.name}: the refs are not those of the repository")


def _requests(
    stage: Stage, repository: Repository, exchanges: Sequence[Exchange], findings: Findings, what: str
) -> None:
    name = f"{what}, 32 clients"
    seconds = 1.0 if stage.options.quick else 6.0

    def plan(server: Server) -> Plan:
        visit = stage.visit(server, repository, exchanges)
        return Plan((visit,), clients=32, seconds=seconds)

    cachew, nginx = series = stage.compare(name, plan, rounds=stage.options.rounds(3))
    notes = {
        one.server: f"{one.rate * len(exchanges):.0f} requests/s, p99 {percentile(one.latencies, 0.99) * 1e3:.0f} ms"
        for one in series
    }
    findings.add(name, series, **notes)
    findings.at_least(name, "requests/s", ratio(cachew.rate, nginx.rate), 3)
    slowest = ratio(percentile(cachew.latencies, 0.99), percentile(nginx.latencies, 0.99))
    findings.at_most(name, "p99 latency", slowest, 0.5)


def slow_readers(stage: Stage) -> Findings:
    """Let 200 clients read a 300 MB pack at 1 MB/s, and see what that costs and whom it holds up."""
    findings = Findings("slow")
    repository = stage.repository("big-blob")
    small = stage.repository("small")
    findings.facts["big-blob"] = repository.facts()
    exchanges = stage.record(repository, "clone", "-q", "--no-checkout", "URL", "DIR")
    asking = stage.record(small, "ls-remote", "-q", "URL")
    for first, exchange in (("cached", lambda: exchanges), ("first", lambda: stage.never_seen(exchanges))):
        if first == "cached":
            check_answers(stage, repository, exchanges, findings, "slow clone")
        _slow(stage, findings, first, repository, exchange, (small, asking))
    return findings


def _slow(
    stage: Stage,
    findings: Findings,
    kind: str,
    repository: Repository,
    exchanges: Callable[[], Sequence[Exchange]],
    small: tuple[Repository, Sequence[Exchange]],
) -> None:
    name = f"200 slow readers, {kind}"
    server = stage.cachew
    seconds = 4.0 if stage.options.quick else 15.0
    crowd = Plan((stage.visit(server, repository, exchanges()),) * 200, clients=200, rate=1e6, abandon=seconds)
    probe = Plan((stage.visit(server, *small),), seconds=seconds - 3, pause=0.02)
    series = Series(server.name)
    with Watch(server.roots, server.cpu) as watch:
        readers = Running(crowd)
        time.sleep(2)  # by then all of them read
        probing = Running(probe).result()
        result = readers.result()
    series.walls.append(result.wall)
    series.cpus.append(watch.cpu)
    series.peaks.append(watch.peak)
    series.failures += result.failures[:3] + probing.failures[:3]
    middle, most, worst = (percentile(probing.latencies, share) * 1e3 for share in (0.5, 0.99, 1.0))
    note = (
        f"{result.received / 1e6 / result.wall:.0f} MB/s, {len(probing.latencies)} small requests:"
        f" p50 {middle:.1f} ms, p99 {most:.1f} ms, worst {worst:.1f} ms"
    )
    findings.add(name, [series], cachew=note)
    findings.at_most(name, "memory growth", watch.own_growth / 1e6, 100, "MB")
    findings.at_most(name, "small request, p99", most, 50, "ms")


def idle_peer(stage: Stage, *, seconds: float, pause: float) -> Plan:
    """Return a plan that asks the peer, which has nothing else to do, for a small file: what a machine that is full
    makes of small requests to anybody.
    """
    small = stage.files / "small"
    small.write_text("small\n")
    return Plan((file_visit(stage.peer.port, f"/files/{small.name}"),), seconds=seconds, pause=pause)


def file_visit(port: int, path: str, *, least: int = 0, skip: int = 0) -> Visit:
    """Return a visit that gets one file."""
    request = f"GET {path} HTTP/1.1\r\nHost: {ports.HOST}:{port}\r\nConnection: close\r\n\r\n".encode()
    return Visit(ports.HOST, port, (request,), least=least, skip=skip)
