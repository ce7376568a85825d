"""The cache of LFS objects: with stock git-lfs, and with clients, upstreams and storages that mean no good."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.lfs import MEDIA_TYPE
from tests.functional.misbehaviour import Cut, Hold, Misbehaviour, Refuse, Stall, redirect
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.repositories import Repository
from tests.functional.server import Cachew, HeldClock
from tests.functional.upstream import Upstream
from tests.http.wire import RawClient, Response

URL = "https://git.example/org/repo"
ALICE = basic("alice", "s3cret")
BOB = basic("bob", "an0ther")
CONFIG = '[git]\nsnapshot-interval = "0s"\nbundle-interval = "0s"\nmirror-snapshot-interval = "0s"\n'
"""Nothing is made in the background, so that whatever the upstream's storage is asked, it is asked for a client."""
DATA = hashlib.shake_256(b"lfs").digest(1_000_003)
OID = hashlib.sha256(DATA).hexdigest()


@dataclass(frozen=True)
class Leave:
    """An upstream's leave to download, as a client sees it."""

    href: str
    header: dict[str, str]
    authorization: str | None = ALICE

    @property
    def path(self) -> str:
        """What to ask the server for."""
        return "/git/" + self.href.partition("/git/")[2]

    @property
    def lines(self) -> list[str]:
        """What to show, the client's own credentials included."""
        own = {} if self.authorization is None else {"Authorization": self.authorization}
        return [f"{name}: {value}" for name, value in {**own, **self.header}.items()]


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """A repository with two LFS objects."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=2)
    repositories.push_commit(repository, name=".gitattributes", data=b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    for name, data in (("a.bin", DATA), ("dir/b.bin", b"small")):
        oid = upstream.lfs.put("org/repo", data)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
        repositories.push_commit(repository, name=name, data=pointer.encode())
    return repository


async def log_in(git: Git) -> None:
    """Let the user's git know the password and use LFS."""
    git.config["credential.helper"] = "!f() { echo username=alice; echo password=" + marked("s3cret") + "; }; f"
    await git.run("lfs", "install", "--skip-repo")


async def batch(
    cachew: Cachew, *, size: int = len(DATA), repository: str = "org/repo", authorization: str | None = ALICE
) -> Response:
    """Ask for leave to download the object."""
    body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": [{"oid": OID, "size": size}]})
    path = f"/git/git.example/{repository}.git/info/lfs/objects/batch"
    own = [] if authorization is None else [f"Authorization: {authorization}"]
    headers = (*own, f"Content-Type: {MEDIA_TYPE}", f"Accept: {MEDIA_TYPE}")
    return await ask(reactor, cachew.url, "POST", path, *headers, body=body.encode())


async def leave(cachew: Cachew, **asked: Any) -> Leave:
    """Get leave to download the object."""
    response = await batch(cachew, **asked)
    assert response.status == 200, response
    (entry,) = json.loads(response.body)["objects"]
    action = entry["actions"]["download"]
    return Leave(action["href"], action["header"], asked.get("authorization", ALICE))


async def download(cachew: Cachew, granted: Leave, *headers: str, method: str = "GET") -> Response:
    """Download the object."""
    assert granted.href.startswith("http://localhost/git/git.example/"), granted
    return await ask(reactor, cachew.url, method, granted.path, *granted.lines, *headers)


async def broken_off(cachew: Cachew, granted: Leave) -> bytes:
    """Begin to download and return what comes until the server breaks off, or an empty text when it refuses."""
    client = await begin(cachew, granted)
    head = await client.head()
    if head.status >= 400:
        return b""
    assert int(head.headers["content-length"]) == len(DATA)
    return await client.closed()


async def begin(cachew: Cachew, granted: Leave) -> RawClient:
    """Ask for the object and return the connection."""
    client = await connect(reactor, cachew.url)
    client.send(request_head("GET", granted.path, *granted.lines))
    return client


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("private", [False, True])
async def test_clones_with_stock_git_lfs(
    upstream: Upstream, repository: Repository, git: Git, start: Start, private: bool
) -> None:
    """Each clone asks the upstream for leave, and only the first has its storage send the objects."""
    if private:
        upstream.gate.protect("org/repo", ALICE)
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    await log_in(git)
    for number in range(3):
        await git.run("clone", "-q", URL, f"clone{number}")
        assert (git.home / f"clone{number}/a.bin").read_bytes() == DATA
        assert (git.home / f"clone{number}/dir/b.bin").read_bytes() == b"small"
        await cachew.quiet()
    assert upstream.count("lfs-object") == 2
    assert len([one for one in upstream.journal.of("lfs") if one.method == "POST"]) >= 3
    assert b'cachew_lfs_objects_total{source="cache"} 4.0' in await cachew.metrics()
    if private:
        upstream.gate.protect("org/repo", basic("alice", "changed"))
        result = await git.run("-C", "clone2", "lfs", "fetch", "--all", check=False)
        assert result.code == 0, "what is here already needs no leave"
        result = await git.run("clone", "-q", URL, "after", check=False)
        assert result.code != 0 and not (git.home / "after/a.bin").exists()
        assert (await batch(cachew)).status == 401


@pytest_twisted.ensureDeferred
async def test_a_restarted_server_keeps_them(upstream: Upstream, repository: Repository, start: Start) -> None:
    """Objects outlive a restart, and leave given before it doesn't."""
    cachew = await start(CONFIG)
    before = await leave(cachew)
    assert (await download(cachew, before)).body == DATA
    await cachew.quiet()
    await cachew.stop()
    cachew = await start(CONFIG)
    assert (await download(cachew, before)).status == 403
    assert (await download(cachew, await leave(cachew))).body == DATA
    assert upstream.count("lfs-object") == 1


@pytest_twisted.ensureDeferred
async def test_what_is_kept_is_of_no_use_without_leave(
    upstream: Upstream, repository: Repository, start: Start
) -> None:
    """No grant, a forged one, or one for another repository, gets nothing; a refused batch gives none."""
    upstream.gate.protect("org/repo", ALICE, unknown=403)
    repositories.make_repository(upstream.path("org/other"))
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    ((name, grant),) = granted.header.items()
    assert (await download(cachew, granted)).body == DATA
    await cachew.quiet()
    elsewhere = granted.href.replace("org/repo", "org/other")
    other_object = granted.href.replace(OID, hashlib.sha256(b"small").hexdigest())
    for href, header in (
        (granted.href, {}),
        (granted.href, {"Authorization": ALICE}),
        (granted.href, {name: ""}),
        (granted.href, {name: grant[:-2] + ("AA" if not grant.endswith("AA") else "BB")}),
        (granted.href, {name: "A" + grant}),
        (elsewhere, granted.header),
        (other_object, granted.header),
        (granted.href + "0", granted.header),
    ):
        for method in ("GET", "HEAD"):
            refused = await download(cachew, Leave(href, header), method=method)
            assert refused.status == 403 and DATA[:20] not in refused.body and "etag" not in refused.headers
    for method in ("PUT", "POST", "DELETE"):
        assert (await download(cachew, granted, "Content-Length: 0", method=method)).status == 405
    assert (await batch(cachew, authorization=basic("bob", "b"))).status == 403
    (entry,) = json.loads((await batch(cachew, repository="org/other")).body)["objects"]
    assert "actions" not in entry and entry["error"]["code"] == 404
    assert upstream.count("lfs-object") == 1


@pytest_twisted.ensureDeferred
async def test_what_the_upstream_lets_nobody_fetch_later(
    upstream: Upstream, repository: Repository, start: Start
) -> None:
    """Leave that has ended already stays the upstream's; other leave ends when the upstream's does."""
    cachew = await start(CONFIG)
    upstream.lfs.said = {"expires_in": -5}
    assert (await leave(cachew)).href.startswith(upstream.url)
    upstream.lfs.said = {"expires_in": 42}
    (entry,) = json.loads((await batch(cachew)).body)["objects"]
    assert entry["actions"]["download"]["expires_in"] == 42


@pytest_twisted.ensureDeferred
async def test_parts_and_conditions(upstream: Upstream, repository: Repository, start: Start) -> None:
    """Parts come of an object that is still on its way, and of one that is kept; its id is its entity tag."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    head = await download(cachew, granted, method="HEAD")
    assert (head.status, head.headers["etag"], head.headers["content-length"]) == (200, f'"{OID}"', str(len(DATA)))
    assert upstream.count("lfs-object") == 0
    for _ in range(2):
        part = await download(cachew, granted, "Range: bytes=999990-")
        assert (part.status, part.body) == (206, DATA[999_990:])
        assert part.headers["content-range"] == f"bytes 999990-{len(DATA) - 1}/{len(DATA)}"
        await cachew.quiet()
    assert (await download(cachew, granted, "Range: bytes=10-99999")).body == DATA[10:100_000]
    assert (await download(cachew, granted, f"Range: bytes={len(DATA)}-")).status == 416
    assert (await download(cachew, granted, f'If-None-Match: "{OID}"')).status == 304
    assert (await download(cachew, granted, 'If-Match: "other"')).status == 412
    whole = await download(cachew, granted)
    assert (whole.body, whole.headers["content-type"]) == (DATA, "application/octet-stream")
    assert "no-store" in whole.headers["cache-control"]
    assert upstream.count("lfs-object") == 1


@pytest_twisted.ensureDeferred
async def test_many_ask_at_once(upstream: Upstream, repository: Repository, start: Start) -> None:
    """Clients that ask for an object while it comes follow it from its first byte; the storage sends it once."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    hold = Hold()
    upstream.misbehave(hold, kind="lfs-object")
    asked = Deferred.fromCoroutine(upstream.next_request("lfs-object"))
    downloads = [Deferred.fromCoroutine(download(cachew, granted)) for _ in range(6)]
    await asked
    hold.release()
    assert {answer.body for answer in await gatherResults(downloads)} == {DATA}
    await cachew.quiet()
    assert upstream.count("lfs-object") == 1
    assert not list(cachew.state.glob("spools/*"))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "wrong",
    [DATA[:-1] + b"\0", b"\0" + DATA[1:], DATA[:-1], DATA + b"\0", b"", DATA * 2],
    ids=["last", "first", "short", "long", "empty", "twice"],
)
async def test_wrong_contents(upstream: Upstream, repository: Repository, start: Start, wrong: bytes) -> None:
    """What isn't what its id says never arrives as a whole and is never kept; the right one then is."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    upstream.lfs.objects["org/repo"][OID] = wrong
    for _ in range(2):
        assert len(await broken_off(cachew, granted)) < len(DATA)
        await cachew.quiet()
    assert upstream.count("lfs-object") == 2
    assert not list(cachew.state.glob("spools/*"))
    upstream.lfs.objects["org/repo"][OID] = DATA
    for _ in range(2):
        assert (await download(cachew, granted)).body == DATA
        await cachew.quiet()
    assert upstream.count("lfs-object") == 3


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("misbehaviour", "status"),
    [
        (Refuse(404), 404),
        (Refuse(403), 403),
        (Refuse(500), 503),
        (Refuse(429, (("Retry-After", "7"),)), 429),
        (Refuse(204, (), b""), 502),
        (Refuse(200, (("Content-Encoding", "gzip"),), b"x"), 502),
        (redirect("http://169.254.169.254/latest/meta-data", 302), 502),
        (redirect("https://10.0.0.1/x", 302), 502),
        (redirect("http://127.0.0.1:1/x", 302), 502),
        (redirect("http://[", 302), 502),
        (Cut(0), 502),
        (Cut(1000), None),
    ],
)
async def test_storages_that_fail(
    upstream: Upstream, repository: Repository, start: Start, misbehaviour: Misbehaviour, status: int | None
) -> None:
    """A storage's failure is told, or breaks the download off; nothing is left of it, and the next one works."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    upstream.misbehave(misbehaviour, kind="lfs-object")
    if status is None:
        assert len(await broken_off(cachew, granted)) < len(DATA)
    else:
        answer = await download(cachew, granted)
        assert answer.status == status, answer
        assert b"RemoteAuth" not in answer.body and b"storage/" not in answer.body
    await cachew.quiet()
    assert not list(cachew.state.glob("spools/*"))
    upstream.behave()
    assert (await download(cachew, granted)).body == DATA


@pytest_twisted.ensureDeferred
async def test_a_storage_that_redirects(upstream: Upstream, repository: Repository, start: Start) -> None:
    """A redirect within the upstream's own place is followed."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    upstream.misbehave(redirect(f"{upstream.url}org/repo.git/info/lfs/storage/{OID}", 302), kind="lfs-object", times=1)
    assert (await download(cachew, granted)).body == DATA
    assert upstream.count("lfs-object") == 2


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "href",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1:9/x",
        "http://localhost:9/x",
        "https://user:pass@storage.example.com/x",
        "file:///etc/passwd",
        "not a url",
    ],
)
async def test_addresses_that_are_not_fetched_from(
    upstream: Upstream, repository: Repository, start: Start, href: str
) -> None:
    """What the server must not ask stays the client's own affair, as the upstream said it."""
    cachew = await start(CONFIG)
    upstream.lfs.said = {"href": href}
    granted = await leave(cachew)
    assert (granted.href, granted.header) == (href, {"Authorization": upstream.lfs.token})


@pytest_twisted.ensureDeferred
async def test_a_storage_that_wants_the_clients_own_credentials(
    upstream: Upstream, repository: Repository, start: Start
) -> None:
    """An upstream's own storage that says nothing of what to show it is shown what the client shows, and judges it."""
    cachew = await start(CONFIG)
    upstream.lfs.said, upstream.lfs.token = {"header": {}}, ALICE
    granted = await leave(cachew)
    for other in (None, f"Bearer {cachew.token}"):
        assert (await download(cachew, replace(granted, authorization=other))).status == 401
    assert cachew.token not in repr([one.headers for one in upstream.journal.exchanges])
    assert (await download(cachew, granted)).body == DATA


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("private", [True, False])
async def test_a_grant_is_for_whom_it_was_given_to(
    upstream: Upstream, repository: Repository, start: Start, private: bool
) -> None:
    """However much is kept, a grant is of no use without the credential that it was given to, or with another's."""
    if private:
        upstream.gate.protect("org/repo", ALICE, BOB)
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    for kept in (False, True):
        for method in ("GET", "HEAD"):
            without = await download(cachew, replace(granted, authorization=None), method=method)
            assert (without.status, without.headers["www-authenticate"][:5]) == (401, "Basic")
            others = await download(cachew, replace(granted, authorization=BOB), method=method)
            assert others.status == 403
        assert (await download(cachew, granted)).body == DATA, kept
        await cachew.quiet()
    bobs = await leave(cachew, authorization=BOB)
    assert (await download(cachew, bobs)).body == DATA
    assert (await download(cachew, replace(bobs, authorization=ALICE))).status == 403


@pytest_twisted.ensureDeferred
async def test_a_grant_is_for_one_instance(upstream: Upstream, repository: Repository, start: Start) -> None:
    """What was given before a repository was forgotten is of no use afterwards."""
    cachew = await start(CONFIG)
    await cachew.mirrored("org/repo")
    granted = await leave(cachew)
    assert (await download(cachew, granted)).body == DATA
    await cachew.quiet()
    path = "/admin/repositories/git.example/org/repo/forget"
    answer = await ask(reactor, cachew.url, "POST", path, f"Authorization: Bearer {cachew.token}")
    assert answer.status < 300, answer
    assert (await download(cachew, granted)).status == 403
    assert (await download(cachew, await leave(cachew))).body == DATA


@pytest_twisted.ensureDeferred
async def test_what_has_no_mirror_is_forgotten_too(upstream: Upstream, repository: Repository, start: Start) -> None:
    """A grant, and what else is kept of a repository without a mirror, is withdrawn; of others nothing is to be."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    await cachew.quiet()
    identity = cachew.identity("org/repo")
    if cachew.parts.mirrors.collection.find(identity) is not None:
        await cachew.parts.mirrors.collection.forget(identity)
    asked = f"Authorization: Bearer {cachew.token}"
    path = "/admin/repositories/git.example/org/%s/forget"
    assert (await ask(reactor, cachew.url, "POST", path % "other", asked)).status == 404
    answer = await ask(reactor, cachew.url, "POST", path % "repo", asked)
    assert answer.status == 202, answer
    await cachew.quiet()
    assert (await download(cachew, granted)).status == 403
    assert (await ask(reactor, cachew.url, "POST", path % "repo", asked)).status in (202, 404)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("authorization", [ALICE, None])
@pytest.mark.parametrize("change", ["closed", "removed", "object removed", "down"])
async def test_a_grant_ends_with_the_right(
    upstream: Upstream, repository: Repository, start: Start, change: str, authorization: str | None
) -> None:
    """auth-ttl after a token was revoked, or a repository was closed or removed, nothing that is kept is sent."""
    clock = HeldClock(reactor)
    if authorization:
        upstream.gate.protect("org/repo", ALICE)
    cachew = await start(f'{CONFIG}[access]\nauth-ttl = "60s"\n', clock=clock)
    granted = await leave(cachew, authorization=authorization)
    assert (await download(cachew, granted)).body == DATA
    await cachew.quiet()
    asked = upstream.count("lfs")
    clock.advance(61)
    assert (await download(cachew, granted)).body == DATA, "the upstream gives leave as before"
    assert upstream.count("lfs") == asked + 1
    if change == "closed":
        upstream.gate.protect("org/repo", BOB)
    elif change == "removed":
        upstream.misbehave(Refuse(404), repository="org/repo")
    elif change == "object removed":
        upstream.lfs.objects.clear()
    else:
        await upstream.stop()
    assert (await download(cachew, granted)).body == DATA, "it was let in less than a minute ago"
    clock.advance(61)
    for _ in range(2):
        ended = await download(cachew, granted)
        assert ended.status == {"closed": 401, "removed": 404, "object removed": 403, "down": 502}[change]
        assert DATA[:20] not in ended.body


@pytest_twisted.ensureDeferred
async def test_a_disk_that_is_nearly_full(upstream: Upstream, repository: Repository, start: Start) -> None:
    """Without room to receive an object for several clients each is sent it on its own, verified all the same."""
    cachew = await start(CONFIG + '[limits]\nmin-free = "1000TB"\n')
    granted = await leave(cachew)
    for number in (1, 2):
        answer = await download(cachew, granted, "Range: bytes=5-")
        assert (answer.status, answer.body) == (200, DATA)
        assert upstream.count("lfs-object") == number
    upstream.lfs.objects["org/repo"][OID] = DATA[:-1] + b"\0"
    assert len(await broken_off(cachew, granted)) < len(DATA)


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves(upstream: Upstream, repository: Repository, start: Start) -> None:
    """What nobody waits for any more is broken off, though it stands still, and not kept; the next client gets it."""
    cachew = await start(CONFIG)
    granted = await leave(cachew)
    stall = Stall(700_000)
    upstream.misbehave(stall, kind="lfs-object", times=1)
    client = await begin(cachew, granted)
    await stall.reached
    await client.head()
    await client.take(1)
    (exchange,) = upstream.journal.of("lfs-object")
    client.transport.abortConnection()
    assert await exchange.end() == "lost"
    await cachew.quiet()
    assert not list(cachew.state.glob("spools/*"))
    assert (await download(cachew, granted)).body == DATA


@pytest_twisted.ensureDeferred
async def test_the_batch_itself(upstream: Upstream, repository: Repository, start: Start) -> None:
    """It reaches the upstream as the client sent it, however long; nonsense is the upstream's."""
    cachew = await start(CONFIG)
    await batch(cachew)
    (exchange,) = upstream.journal.of("lfs")
    sent = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": OID, "size": len(DATA)}]}
    assert (json.loads(exchange.body), exchange.headers["authorization"]) == (sent, ALICE)
    path = "/git/git.example/org/repo.git/info/lfs/objects/batch"
    upstream.misbehave(Refuse(200, (("Content-Type", MEDIA_TYPE),), b"nonsense"), kind="lfs")
    long = json.dumps(sent).encode() + b" " * 1_100_000
    answer = await ask(reactor, cachew.url, "POST", path, body=long)
    assert (answer.status, answer.body) == (200, b"nonsense")
    assert upstream.journal.of("lfs")[-1].headers["content-length"] == str(len(long))
    answer = await batch(cachew)
    assert (answer.status, answer.body) == (200, b"nonsense")
    upstream.behave()
    large = b'{"objects": [' + b" " * 17_000_000 + b"]}"
    upstream.misbehave(Refuse(200, (("Content-Type", MEDIA_TYPE),), large), kind="lfs", times=1)
    answer = await batch(cachew)
    assert (answer.status, answer.body == large) == (200, True)
    upstream.misbehave(Refuse(422, (("Content-Type", MEDIA_TYPE),), b'{"message": "no"}'), kind="lfs")
    answer = await batch(cachew)
    assert (answer.status, answer.body) == (422, b'{"message": "no"}')


@pytest_twisted.ensureDeferred
async def test_hosts_do_not_share(upstream: Upstream, repository: Repository, start: Start, tmp_path: Path) -> None:
    """An object that one upstream lets a client have is not given to another upstream's clients."""
    root = tmp_path / "foreign"
    root.mkdir()
    foreign = Upstream(reactor=reactor, root=root)
    await foreign.start()
    try:
        cachew = await start(f'[upstreams."foreign.example"]\nurl = "{foreign.url}"\n{CONFIG}')
        assert (await download(cachew, await leave(cachew))).body == DATA
        await cachew.quiet()
        foreign.lfs.objects["org/repo"] = {OID: b"the foreign upstream only says that it has it"}
        path = "/git/foreign.example/org/repo.git/info/lfs/objects/batch"
        body = json.dumps({"operation": "download", "objects": [{"oid": OID, "size": len(DATA)}]}).encode()
        answer = await ask(reactor, cachew.url, "POST", path, f"Content-Type: {MEDIA_TYPE}", body=body)
        action = json.loads(answer.body)["objects"][0]["actions"]["download"]
        got = await ask(
            reactor, cachew.url, "GET", "/git/" + action["href"].partition("/git/")[2],
            *(f"{name}: {value}" for name, value in action["header"].items()),
        )  # fmt: skip
        assert got.status == 502 and DATA[:20] not in got.body
        await cachew.stop()
    finally:
        await foreign.stop()
