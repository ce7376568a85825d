"""Three servers and one store, as processes of their own: what the tests of fleets share."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults

from cachew.replicas.completions import Completion, TaskCompletions
from tests.functional import repositories
from tests.functional.gitclient import Git, Run
from tests.functional.rawhttp import ask
from tests.functional.replicas import GitThatStops, ServerProcess
from tests.functional.repositories import Repository
from tests.http.wire import Response, patient

INTERVAL = 1.0
MIRROR_INTERVAL = 5 * INTERVAL
PREFIX = "fleet"
SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
MADE = "made snapshot:git.example/org/repo, "
OUTDATED = "is outdated and was removed"
CHECKS = "checks/{task}/git.example/org/repo"
TAKEN = "lease snapshot/git.example/org/repo taken from"
FAST = f"""
[git]
snapshot-interval = "{INTERVAL}s"
mirror-snapshot-interval = "{MIRROR_INTERVAL}s"
ref-check-interval = "100ms"
replica-timeout = "2s"
lfs-snapshots = false
repack-interval = "0s"
artefacts-for = "0s"
"""


async def start_all(servers: list[ServerProcess]) -> None:
    """Start servers and wait until all are ready."""
    await DeferredList([Deferred.fromCoroutine(server.start()) for server in servers], consumeErrors=True)
    assert all(server.ready for server in servers), "\n".join(line for one in servers for _, line in one.lines)


async def stop_all(servers: list[ServerProcess]) -> None:
    """Stop servers and wait for their ends."""
    await DeferredList([Deferred.fromCoroutine(server.stop()) for server in servers])


async def first_of(servers: list[ServerProcess], text: str) -> None:
    """Wait until any server logs a line."""
    waits = [server.next(text) for server in servers if not server.ended]
    first = await patient(DeferredList(waits, fireOnOneCallback=True, consumeErrors=True))
    for wait in waits:
        wait.cancel()
    assert isinstance(first, tuple), f"nobody logged {text!r}"


async def clone(git: Git, server: ServerProcess, name: str) -> str:
    """Clone the repository through a server, check it, and return its commit."""
    original, replacement = server.instead_of
    through = {f"url.{replacement}.insteadOf": original}
    await git.run("clone", "-q", "https://git.example/org/repo", name, config=through)
    await git.run("-C", name, "fsck", "--strict")
    return (await git.run("-C", name, "rev-parse", "HEAD")).out


async def clone_everywhere(git: Git, servers: list[ServerProcess], name: str) -> set[str]:
    """Clone the repository through every server, and return the commits."""
    cloning = [Deferred.fromCoroutine(clone(git, server, f"{name}{n}")) for n, server in enumerate(servers)]
    return set(await gatherResults(cloning))


def logged(servers: list[ServerProcess], text: str) -> list[float]:
    """Return when any server logged a line."""
    return sorted(moment for server in servers for moment in server.times(text))


async def holder_of(stopping: GitThatStops, servers: list[ServerProcess], begin: Callable[[], object]) -> ServerProcess:
    """Have git wait in the midst of the next snapshot, and return the server that is making it."""
    notice = Run(b"")
    spawn: Any = reactor
    spawn.spawnProcess(notice, "setsid", ["setsid", "cat", str(stopping.notice)], env=None, path=None)
    stopping.stop_the_next()
    begin()
    words = (await patient(notice.done)).out
    (found,) = [server for server in servers if str(server.state) in words]
    return found


async def newest(server: ServerProcess, commit: str) -> Response:
    """Ask for the snapshot of a commit; a server may send the copy that it has while it learns of another."""
    removed = len(server.times(OUTDATED))
    answer = await ask(reactor, server.url, "GET", SNAPSHOT)
    if answer.headers["x-cachew-snapshot-commit"] != commit:
        await server.seen(OUTDATED, removed + 1)
        answer = await ask(reactor, server.url, "GET", SNAPSHOT)
    assert answer.headers["x-cachew-snapshot-commit"] == commit
    return answer


class Completions:
    """When a task was completed, as those who did it wrote it down: the log's lines come late while a machine is busy.

    :param progress: where they wrote it down.
    :param task: its name.
    :param apart: seconds by which the servers' clocks differ from the true time, or twice as many, or none.
    """

    def __init__(self, progress: TaskCompletions, task: str, apart: float = 0.0) -> None:
        self._progress, self._name, self._apart = progress, CHECKS.format(task=task), apart
        self._found: dict[int, Completion] = {}

    async def note(self) -> None:
        """Look at the last one."""
        last = await self._progress.last(self._name)
        if last is not None and last.number not in self._found:
            ahead = round((last.at - reactor.seconds()) / self._apart) * self._apart if self._apart else 0.0
            self._found[last.number] = replace(last, at=last.at - ahead)

    def shortest(self) -> float:
        """Return the fewest seconds from one to the next."""
        pairs = itertools.pairwise(self._found.values())
        return min((later.at - earlier.at) / (later.number - earlier.number) for earlier, later in pairs)


async def push_and_wait(
    repository: Repository, servers: list[ServerProcess], count: int, *watched: Completions
) -> list[str]:
    """Push commits, each after the snapshot of the one before was made; return them."""
    pushed = []
    for number in range(count):
        waiting = Deferred.fromCoroutine(first_of(servers, MADE))
        pushed.append(repositories.push_commit(repository, "main", f"push {number}"))
        await waiting
        for completions in watched:
            await completions.note()
    return pushed
