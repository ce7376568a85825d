"""The seed behaviour: what is cached is sent at once, and nothing is made because a client asks."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from cachew.mirrors.mirror import Mirror
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.loglines import LogLines, listening
from tests.functional.misbehaviour import Hang, Stall
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.repositories import Repository
from tests.functional.server import UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
STALE = "refs stale for snapshot request, fetching in background"
AT_ONCE = 0.1
"""Seconds in which the first byte of a cached snapshot comes."""


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=5, files=20, size=5000)


@pytest.fixture
def log() -> Iterator[LogLines]:
    """What is logged."""
    with listening() as lines:
        yield lines


async def snapshot(cachew: Cachew) -> Response:
    """Ask for the snapshot."""
    return await ask(reactor, cachew.url, "GET", SNAPSHOT)


async def stored_snapshot(cachew: Cachew, log: LogLines) -> Response:
    """Ask for the snapshot, wait until it is in the cache and nothing goes on, and return it."""
    made = await snapshot(cachew)
    assert made.status == 200, made
    await log.seen("made snapshot")
    await cachew.quiet()
    return made


async def first_byte_after(cachew: Cachew) -> float:
    """Return the seconds from a request for the snapshot to the first byte of its body."""
    clock: Any = reactor
    client = await connect(reactor, cachew.url)
    began = clock.seconds()
    client.send(request_head("GET", SNAPSHOT))
    head = await client.head()
    assert head.status == 200, head
    await client.take(1)
    seconds: float = clock.seconds() - began
    client.transport.abortConnection()
    await client.lost.wait()
    return seconds


async def comes_at_once(cachew: Cachew) -> bool:
    """Say whether the first byte comes in time, on a machine that may be busy with something else now and then."""
    return min([await first_byte_after(cachew) for _ in range(5)]) < AT_ONCE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("auth_ttl", ["60s", "1ms"])
async def test_a_hanging_upstream_is_not_waited_for(
    upstream: Upstream, repository: Repository, start: Start, log: LogLines, auth_ttl: str
) -> None:
    """A cached snapshot comes at once while the upstream hangs, whether or not its word is still good."""
    cachew = await start(f'[git]\nref-check-interval = "0s"\n[access]\nauth-ttl = "{auth_ttl}"')
    made = await stored_snapshot(cachew, log)
    upstream.misbehave(Hang())
    asked = Deferred.fromCoroutine(upstream.next_request())
    again = await snapshot(cachew)
    assert again.body == made.body
    assert (await asked).outcome == "open"
    assert await comes_at_once(cachew)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("with_mirror", [True, False])
async def test_nor_after_a_restart(
    upstream: Upstream, repository: Repository, start: Start, log: LogLines, with_mirror: bool
) -> None:
    """The same holds after a restart, and on a replica that has the snapshot but no mirror."""
    cachew = await start(UNSCHEDULED)
    made = await stored_snapshot(cachew, log)
    await cachew.stop()
    if not with_mirror:
        shutil.rmtree(cachew.state / "mirrors")
    upstream.misbehave(Hang())
    cachew = await start(UNSCHEDULED)
    asked = Deferred.fromCoroutine(upstream.next_request())
    again = await snapshot(cachew)
    assert again.body == made.body
    assert (await asked).outcome == "open"
    assert await comes_at_once(cachew)


@pytest_twisted.ensureDeferred
async def test_nor_is_what_goes_on_with_the_mirror(
    upstream: Upstream, repository: Repository, start: Start, log: LogLines
) -> None:
    """The same holds while a fetch hangs, and whoever else has the mirror for himself."""
    cachew = await start(f'{UNSCHEDULED}ref-check-interval = "0s"\n')
    made = await stored_snapshot(cachew, log)
    upstream.misbehave(Stall(0), kind="pack")
    packs = upstream.count("pack")
    repositories.push_commit(repository)
    assert (await snapshot(cachew)).body == made.body
    await upstream.journal.reached(packs + 1, "pack")
    assert await comes_at_once(cachew)
    assert (await snapshot(cachew)).headers["etag"]
    upstream.misbehave(Hang())
    mirror = await cachew.mirrored("org/repo")
    held = Deferred.fromCoroutine(hold(mirror))
    assert await comes_at_once(cachew)
    held.cancel()


async def hold(mirror: Mirror) -> None:
    """Have a mirror to oneself as soon as it is free, for good."""
    with suppress(CancelledError):
        async with mirror.locks.exclusive():
            await Deferred()


@pytest_twisted.ensureDeferred
async def test_a_missing_mirror_is_made_once_afterwards(
    upstream: Upstream, repository: Repository, start: Start, log: LogLines
) -> None:
    """A replica with the snapshot and without the mirror serves first and then mirrors, once for all requests."""
    cachew = await start(UNSCHEDULED)
    made = await stored_snapshot(cachew, log)
    await cachew.stop()
    shutil.rmtree(cachew.state / "mirrors")
    cachew = await start(UNSCHEDULED)
    before = upstream.count("pack")
    for _ in range(5):
        assert (await snapshot(cachew)).body == made.body
    await cachew.quiet()
    assert (await cachew.mirrored("org/repo")).ready
    assert upstream.count("pack") == before + 1


@pytest_twisted.ensureDeferred
async def test_a_commit_before_every_request_makes_nothing(
    upstream: Upstream, repository: Repository, start: Start, log: LogLines
) -> None:
    """Twenty requests, each just after a push, get one and the same object, and none is made; the mirror follows."""
    cachew = await start('[git]\nref-check-interval = "0s"')
    first = await stored_snapshot(cachew, log)
    stored = await snapshot(cachew)
    # The bytes that were streamed while they were made are those that were stored.
    assert (stored.status, stored.body) == (200, first.body)
    made = log.count("made snapshot")
    answers = []
    for number in range(20):
        pushed = repositories.push_commit(repository, "main", f"push {number}")
        stale = log.next(STALE)
        answers.append(await snapshot(cachew))
        await stale
    assert {(answer.headers["etag"], answer.body) for answer in answers} == {(stored.headers["etag"], stored.body)}
    assert log.count("made snapshot") == made
    await cachew.quiet()
    assert (await cachew.mirrored("org/repo")).refs.by_name["refs/heads/main"] == pushed


@pytest_twisted.ensureDeferred
async def test_many_first_requests_are_one_production(
    upstream: Upstream, repository: Repository, start: Start, log: LogLines
) -> None:
    """Clients that ask while a snapshot is made all get it, byte for byte, and it is made once."""
    cachew = await start()
    answers = await gatherResults([Deferred.fromCoroutine(snapshot(cachew)) for _ in range(8)])
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    await log.seen("made snapshot")
    assert log.count("made snapshot") == 1
    head = await ask(reactor, cachew.url, "HEAD", SNAPSHOT)
    assert head.headers["x-cachew-snapshot-commit"] == repository.commit()
    assert int(head.headers["content-length"]) == len(answers[0].body)
