"""Clones: warm, first, shallow, partial and single-branch, replayed and with a real git."""

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence

from scripts.benchmarks.exchange import Exchange
from scripts.benchmarks.figures import Findings, Series, ratio
from scripts.benchmarks.load import Plan, run
from scripts.benchmarks.packs import pack_in
from scripts.benchmarks.repositories import Repository, environment, git
from scripts.benchmarks.stage import Server, Stage, say

KINDS: dict[str, tuple[str, ...]] = {
    "full": (),
    "shallow": ("--depth", "1"),
    "partial": ("--filter=blob:none",),
    "single-branch": ("--single-branch", "--no-tags"),
}


def clones(stage: Stage) -> Findings:
    """Run the scenarios."""
    findings = Findings("clone")
    repository = stage.repository("medium", given=True)
    findings.facts["medium"] = repository.facts()
    for kind, options in KINDS.items():
        exchanges = stage.record(repository, "clone", "-q", "--no-checkout", *options, "URL", "DIR")
        sizes = check_answers(stage, repository, exchanges, findings, f"{kind} clone")
        if kind == "full":
            first_clones(stage, repository, exchanges, findings, sizes)
        warm_clones(stage, repository, exchanges, findings, sizes, kind)
        real_clones(stage, repository, findings, kind)
    return findings


def check_answers(
    stage: Stage, repository: Repository, exchanges: Sequence[Exchange], findings: Findings, what: str
) -> dict[str, int]:
    """Take the pack that each server sends once, check it, and compare the servers' numbers of objects.

    Afterwards the answer is in the server's cache.

    :return: the answers' sizes in bytes, by the server's name.
    """
    kept = stage.work / "answer"
    objects: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for server in stage.servers:
        say(f"{what}: checking {server.name}")
        result = run(Plan((stage.visit(server, repository, exchanges),), keep=kept))
        findings.failures += [f"{what}, {server.name}: {failure}" for failure in result.failures]
        sizes[server.name] = result.received
        try:
            objects[server.name] = pack_in(kept.read_bytes(), chunked=result.chunked).objects
        except ValueError as error:
            findings.failures.append(f"{what}, {server.name}: {error}")
    kept.unlink()
    if len(set(objects.values())) > 1:
        findings.failures.append(f"{what}: the numbers of objects differ: {objects}")
    return sizes


def plans(
    stage: Stage,
    repository: Repository,
    clients: int,
    exchanges: Callable[[], Sequence[Exchange]],
    sizes: dict[str, int],
) -> Callable[[Server], Plan]:
    """Return what gives a server's plan: so many clients that ask for the same, once.

    :param exchanges: what each run asks for.
    :param sizes: of the answers, by the server's name.
    """

    def plan(server: Server) -> Plan:
        visit = stage.visit(server, repository, exchanges(), size=sizes[server.name])
        return Plan((visit,) * clients, clients=clients)

    return plan


def first_clones(
    stage: Stage, repository: Repository, exchanges: Sequence[Exchange], findings: Findings, sizes: dict[str, int]
) -> None:
    """Measure clones that no cache has seen."""
    for clients, rounds, limit in ((1, 5, 1.0), (8, 3, 0.3)):
        name = f"first clone, {clients} client{'s' if clients > 1 else ''}"
        each = plans(stage, repository, clients, lambda: stage.never_seen(exchanges), sizes)
        cachew, nginx = series = stage.compare(name, each, rounds=stage.options.rounds(rounds))
        findings.add(name, series, cachew=f"upload-packs {cachew.upload_packs}")
        findings.at_most(name, "wall", ratio(cachew.wall, nginx.wall), limit)
        if clients == 1:
            findings.at_most(name, "CPU", ratio(cachew.cpu, nginx.cpu), 1.0)
        else:
            findings.at_most(name, "upload-packs per run", max(cachew.upload_packs), 1, unit="")


def warm_clones(
    stage: Stage,
    repository: Repository,
    exchanges: Sequence[Exchange],
    findings: Findings,
    sizes: dict[str, int],
    kind: str,
) -> None:
    """Measure clones that have been asked for before."""
    crowds = [(1, 5, 0.2, 0.1), (8, 1 if kind == "shallow" else 3, 0.2, 0.08)]
    if kind == "full":
        crowds.append((64, 1, 0.1, 0.08))
    for clients, rounds, wall, cpu in crowds:
        name = f"warm {kind} clone, {clients} client{'s' if clients > 1 else ''}"
        each = plans(stage, repository, clients, lambda: exchanges, sizes)
        cachew, nginx = series = stage.compare(name, each, rounds=stage.options.rounds(rounds))
        findings.add(name, series)
        findings.at_most(name, "wall", ratio(cachew.wall, nginx.wall), wall)
        if clients < 64:
            findings.at_most(name, "CPU", ratio(cachew.cpu, nginx.cpu), cpu)
        else:
            findings.at_most(name, "failed", len(cachew.failures), 0, unit="")


def real_clones(stage: Stage, repository: Repository, findings: Findings, kind: str) -> None:
    """Clone with git from each server and from the disk, and check what has come."""
    name = f"git clone, {kind}"
    addresses = {server.name: server.url(repository.name) for server in stage.servers}
    addresses["file://"] = f"file://{repository.path}"
    target = stage.work / "clone"
    for server, address in addresses.items():
        say(f"{name}: {server}")
        shutil.rmtree(target, ignore_errors=True)
        begin = time.perf_counter()
        command = ["git", "clone", "-q", "--no-checkout", *KINDS[kind], address, str(target)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        series = Series(server, walls=[time.perf_counter() - begin])
        if done.returncode:
            series.failures.append(done.stderr.strip()[-300:])
        elif server != "file://":
            series.failures += wrong_in(target, repository, kind)
        findings.add(name, [series])
    shutil.rmtree(target, ignore_errors=True)


def wrong_in(clone: object, repository: Repository, kind: str) -> list[str]:
    """Return what is wrong with a clone: refs and, by fsck, objects."""
    lines = git("-C", str(clone), "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    got = dict(line.split(" ") for line in lines)
    expected = repository.refs()
    head = repository.git("symbolic-ref", "HEAD").strip().removeprefix("refs/heads/")
    wrong = []
    for name, oid in expected.items():
        branch = name.removeprefix("refs/heads/")
        local = f"refs/remotes/origin/{branch}" if branch != name else name
        one = kind in ("single-branch", "shallow")
        wanted = branch == head if one else name.startswith(("refs/heads/", "refs/tags/"))
        if wanted and got.get(local) != oid:
            wrong.append(f"{name} is {got.get(local)} instead of {oid}")
    depth = ("--full",) if kind == "full" else ("--connectivity-only",)
    try:
        git("-C", str(clone), "fsck", "--no-dangling", "--no-progress", *depth)
    except RuntimeError as error:
        wrong.append(str(error))
    return wrong[:5]
