"""``ensure-refs`` over HTTP: its statuses, and what it costs the upstream."""

import gzip
import json

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.misbehaviour import Cut, Misbehaviour, Refuse
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

PATH = "/git/git.example/org/repo/ensure-refs"
HELD = '[git]\nref-check-interval = "1h"\n[access]\nmode = "trusted-network"\n'


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=3)


async def ensure(cachew: Cachew, body: bytes) -> Response:
    """Say what is needed."""
    return await ask(reactor, cachew.url, "POST", PATH, "Content-Type: application/json", body=body)


@pytest_twisted.ensureDeferred
async def test_malformed(upstream: Upstream, repository: Repository, start: Start) -> None:
    """What is malformed is 400 with a reason, and costs the upstream nothing."""
    cachew = await start(HELD)
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    before = upstream.count()
    bodies = [b"", b"nonsense", b"[]", b"{}", b'{"refs": []}', b'{"commits": ["main"]}', b'{"refs": {"\\ud800": ""}}']
    for body in [*bodies, b'{"refs": {"refs/heads/\\ud800": ""}}', b'{"refs": {"refs/heads/main": "1234"}}']:
        answer = await ensure(cachew, body)
        assert answer.status == 400 and answer.body.strip(), body
    for coding, status in (("br", 415), ("gzip", 200)):
        body = gzip.compress(b'{"refs": {"refs/heads/main": "%b"}}' % repository.commit().encode())
        assert (await ask(reactor, cachew.url, "POST", PATH, f"Content-Encoding: {coding}", body=body)).status == status
    assert upstream.count() == before
    assert (await ask(reactor, cachew.url, "GET", PATH)).status == 405


@pytest_twisted.ensureDeferred
async def test_many_at_once(upstream: Upstream, repository: Repository, start: Start) -> None:
    """However many need the same new commit at once, it is fetched once; who needs what is there fetches nothing."""
    cachew = await start(HELD)
    await cachew.mirrored("org/repo")
    old = repository.commit()
    packs = upstream.count("pack")
    answer = await ensure(cachew, json.dumps({"commits": [old]}).encode())
    assert json.loads(answer.body) == {"refs": {}, "missing_commits": [], "fetched": False}
    assert answer.headers["content-type"] == "application/json"
    pushed = repositories.push_commit(repository)
    needs = json.dumps({"refs": {"refs/heads/main": pushed}, "commits": [pushed, old]}).encode()
    answers = await gatherResults([Deferred.fromCoroutine(ensure(cachew, needs)) for _ in range(20)])
    for answer in answers:
        assert answer.status == 200
        found = json.loads(answer.body)
        assert (found["refs"], found["missing_commits"]) == ({"refs/heads/main": pushed}, [])
    assert upstream.count("pack") == packs + 1


@pytest_twisted.ensureDeferred
async def test_the_upstream_fails(upstream: Upstream, repository: Repository, start: Start) -> None:
    """When it must be asked and fails, that is said with the reason; what is there needs no upstream."""
    cachew = await start(HELD)
    await cachew.mirrored("org/repo")
    needs = json.dumps({"commits": ["1" * 40]}).encode()
    upstream.misbehave(Cut(0))
    answer = await ensure(cachew, needs)
    assert answer.status == 502 and b"org/repo" in answer.body
    upstream.misbehave(Refuse(500))
    assert (await ensure(cachew, needs)).status in (502, 503)
    there = json.dumps({"commits": [repository.commit()]}).encode()
    assert (await ensure(cachew, there)).status == 200


@pytest_twisted.ensureDeferred
async def test_too_many_ids(upstream: Upstream, repository: Repository, start: Start) -> None:
    """More ids than one request may have are 413, more than a client may have in a minute 429, each in words."""
    cachew = await start(HELD + "[limits]\nids-per-minute = 1500\n")
    await cachew.mirrored("org/repo")
    before = upstream.count()
    unknown = [f"{number:040x}" for number in range(1, 2002)]
    answer = await ensure(cachew, json.dumps({"commits": unknown[:1001]}).encode())
    assert answer.status == 413 and b"1001 refs and commits are more than the 1000" in answer.body
    assert upstream.count() == before
    answer = await ensure(cachew, json.dumps({"commits": unknown[:1000]}).encode())
    assert answer.status == 200 and json.loads(answer.body)["missing_commits"] == unknown[:1000]
    answer = await ensure(cachew, json.dumps({"commits": unknown[1000:2000]}).encode())
    assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 20
    pushed = repositories.push_commit(repository)
    answer = await ensure(cachew, json.dumps({"commits": [pushed]}).encode())
    assert answer.status == 200 and json.loads(answer.body)["missing_commits"] == []


ROUTES = {
    "snapshot.tar.zst": ("GET", b""),
    "ensure-refs": ("POST", b'{"refs": {"refs/heads/main": ""}}'),
}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("behaviour", [Cut(1_000), Refuse(500), Refuse(403)], ids=["cut", "failing", "refusing"])
async def test_a_pack_that_does_not_come(upstream: Upstream, start: Start, behaviour: Misbehaviour) -> None:
    """An upstream that cuts the first clone's pack, or gives none, is named with the reason: 502, on every route."""
    cachew = await start(HELD)
    for number, (operation, (method, body)) in enumerate(ROUTES.items()):
        repositories.make_repository(upstream.path(f"org/r{number}"), commits=3, size=100_000)
        upstream.misbehave(behaviour, kind="pack", repository=f"org/r{number}")
        path = f"/git/git.example/org/r{number}/{operation}"
        for _ in range(2):
            answer = await ask(reactor, cachew.url, method, path, body=body)
            assert (answer.status, answer.body[:9]) == (502, b"upstream "), answer
            assert f"{upstream.url}org/r{number}".encode() in answer.body and b"git fetch" in answer.body


@pytest_twisted.ensureDeferred
async def test_a_fetch_that_fails(upstream: Upstream, repository: Repository, start: Start) -> None:
    """What a mirror lacks and its upstream does not give is 502 with the reason, or told to be missing."""
    cachew = await start(HELD)
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    pushed = repositories.push_commit(repository)
    upstream.misbehave(Cut(100), kind="pack")
    answer = await ensure(cachew, json.dumps({"refs": {"refs/heads/main": pushed}}).encode())
    assert answer.status == 502 and b"git fetch" in answer.body, answer
