"""Hundreds of requests of every kind whose clients leave at random moments; afterwards the server is as it was."""

import ctypes
import gc
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.lfs import MEDIA_TYPE
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.remains import children, descriptors, settle, temporary_files
from tests.functional.repositories import Repository
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import RawClient

BASE = "/git/git.example/org/repo"
UPLOAD_PACK = "Content-Type: application/x-git-upload-pack-request"
V2 = "Git-Protocol: version=2"
COUNT, AT_ONCE, COLD = 500, 12, 4
WARM_UP = 100
MIB = 1024 * 1024
CONFIG = """
[git]
max-processes = 3
snapshot-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
[[cache]]
backend = "disk"
limit = "100MB"
"""
"""Few places, and nothing by schedule, which goes on when all clients are gone."""
LFS_DATA = b"lfs" * 700_000

Make = Callable[["Requests"], bytes]


@dataclass(frozen=True)
class Requests:
    """Makes requests of every kind, the same ones for the same seed.

    :param commits: the repository's, newest first.
    :param token: the admin token.
    :param oid: of an LFS object.
    :param granted: a whole request that downloads it.
    """

    random: random.Random
    commits: list[str]
    token: str
    oid: str
    granted: bytes

    def next(self) -> bytes:
        """Return a whole request."""
        return self.random.choice(KINDS)(self)

    def fetch(self, *arguments: str, repository: str = "org/repo") -> bytes:
        """A fetch in protocol v2; no two are the same, so that none is answered by what another one has got."""
        wants = self.random.sample(self.commits, self.random.randint(1, 3))
        agent = f"agent=git/test-{self.random.random()}"
        lines: list[Packet] = [
            b"command=fetch",
            agent.encode(),
            b"object-format=sha1",
            DELIM,
            b"thin-pack",
            b"ofs-delta",
        ]
        lines += [line.encode() for line in (*arguments, *(f"want {oid}" for oid in wants))]
        return self.post(repository, encode_all([*lines, b"done", FLUSH]), V2)

    def post(self, repository: str, body: bytes, *headers: str) -> bytes:
        """A request of upload-pack."""
        path = f"/git/git.example/{repository}/git-upload-pack"
        return request_head("POST", path, UPLOAD_PACK, f"Content-Length: {len(body)}", *headers) + body

    def get(self, path: str, *headers: str, method: str = "GET") -> bytes:
        """A request without a body."""
        return request_head(method, path, *headers)


def deepened(requests: Requests) -> bytes:
    """A fetch with one of the depths."""
    when = 1_000_000_000 + requests.random.randint(0, 400_000_000)
    depths = (f"deepen {requests.random.randint(1, 40)}", f"deepen-since {when}", "deepen-not refs/heads/none")
    return requests.fetch(requests.random.choice(depths))


def filtered(requests: Requests) -> bytes:
    """A fetch with one of the filters."""
    filters = ("blob:none", f"blob:limit={requests.random.randint(1, 9999)}", "tree:0")
    return requests.fetch(f"filter {requests.random.choice(filters)}")


def negotiated(requests: Requests) -> bytes:
    """A fetch of a client that has something."""
    return requests.fetch(*(f"have {oid}" for oid in requests.random.sample(requests.commits, 2)))


def old_fetch(requests: Requests) -> bytes:
    """A fetch in protocol v0."""
    want = f"want {requests.random.choice(requests.commits)} side-band-64k ofs-delta agent=git/test\n"
    return requests.post("org/repo", encode_all([want.encode(), FLUSH, b"done\n"]))


def listed(requests: Requests) -> bytes:
    """A ref listing in protocol v2."""
    prefix = f"ref-prefix refs/{requests.random.choice(('heads/', 'tags/', 'pull/', 'changes/'))}"
    return requests.post("org/repo", encode_all([b"command=ls-refs", DELIM, b"peel", prefix.encode(), FLUSH]), V2)


def of_a_cold_repository(requests: Requests) -> bytes:
    """A listing or a clone of a repository that may not be mirrored yet, or whose upstream knows none."""
    name = f"org/cold-{requests.random.randint(0, COLD)}"
    info = requests.get(f"/git/git.example/{name}/info/refs?service=git-upload-pack", V2)
    return requests.random.choice((info, requests.fetch(repository=name)))


def snapshot(requests: Requests) -> bytes:
    """A snapshot, or a part of it, kept or yet to be made."""
    variant = requests.random.choice(("", "", f"?ref=refs/heads/b{requests.random.randint(0, 1)}"))
    start = requests.random.randint(0, 100_000)
    part = [f"Range: bytes={start}-{start + 50_000}"] if requests.random.random() < 0.3 else []
    return requests.get(f"{BASE}/snapshot.tar.zst{variant}", *part)


def bundle(requests: Requests) -> bytes:
    """A bundle, kept or yet to be made, or the list of bundles."""
    return requests.random.choice(
        (
            requests.get(f"{BASE}/snapshot.bundle?base={requests.random.choice(requests.commits[:4])}"),
            requests.get(f"{BASE}/bundle-list"),
        )
    )


def batch(requests: Requests) -> bytes:
    """An LFS batch."""
    objects = [{"oid": requests.oid, "size": len(LFS_DATA)}]
    body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": objects}).encode()
    headers = (f"Content-Type: {MEDIA_TYPE}", f"Accept: {MEDIA_TYPE}", f"Content-Length: {len(body)}")
    return request_head("POST", f"{BASE}.git/info/lfs/objects/batch", *headers) + body


def upload(requests: Requests) -> bytes:
    """An upload to the object API."""
    body = requests.random.randbytes(requests.random.choice((10, 70_000, 900_000)))
    path = f"/api/v1/object/build/{requests.random.randint(0, 5)}"
    headers = (f"Authorization: Bearer {requests.token}", f"Content-Length: {len(body)}")
    return request_head("POST", path, *headers) + body


def download(requests: Requests) -> bytes:
    """A download from the object API."""
    path = f"/api/v1/object/build/{requests.random.randint(0, 5)}"
    return requests.get(path, f"Authorization: Bearer {requests.token}")


def ensure(requests: Requests) -> bytes:
    """An ``ensure-refs`` for what is there and for what is nowhere."""
    commits = [requests.random.choice(requests.commits), f"{requests.random.getrandbits(160):040x}"]
    body = json.dumps({"refs": {"refs/heads/main": ""}, "commits": commits}).encode()
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return request_head("POST", f"{BASE}/ensure-refs", *headers) + body


KINDS: tuple[Make, ...] = (
    lambda requests: requests.fetch(),
    deepened,
    filtered,
    negotiated,
    old_fetch,
    listed,
    lambda requests: requests.get(f"{BASE}/info/refs?service=git-upload-pack"),
    of_a_cold_repository,
    snapshot,
    bundle,
    batch,
    lambda requests: requests.granted,
    upload,
    download,
    ensure,
)


async def visit(cachew: Cachew, request: bytes, chance: random.Random) -> None:
    """Send a request and leave: in the midst of it, after a moment, in the midst of the answer, or at its end."""
    client = await connect(reactor, cachew.url)
    how = chance.randint(0, 3)
    client.send(request[: chance.randint(1, len(request))] if how == 0 else request)
    if how in (0, 1):
        await deferLater(reactor, chance.uniform(0, 0.08), lambda: None)
    else:
        await received(client, chance.randint(1, 300_000) if how == 2 else None)
    client.transport.abortConnection()
    await client.lost.wait()
    client.received.clear()  # Twisted's factories are classes, and keep the client for a while


async def received(client: RawClient, count: int | None) -> None:
    """Wait for so many bytes or the end."""
    if count is None:
        await client.lost.wait()
        return
    try:
        await client.take(count)
    except AssertionError:
        return  # the answer was shorter


async def visits(cachew: Cachew, requests: Iterator[bytes], chance: random.Random) -> None:
    """Have a dozen clients at once send all of some requests."""

    async def client() -> None:
        for request in requests:
            await visit(cachew, request, chance)

    for success, result in await DeferredList([Deferred.fromCoroutine(client()) for _ in range(AT_ONCE)]):
        assert success, result


def resident() -> int:
    """Bytes of memory that this process has, without what only its heap holds back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def own_descriptors(upstream: Upstream) -> Counter[str]:
    """Count descriptors without both ends of the connections to the upstream, a few of which are kept open."""
    found = descriptors()
    found["socket"] -= 2 * upstream.connections
    return found


async def places(cachew: Cachew) -> list[str]:
    """Name the places that are taken and who waits for one, as the metrics tell it."""
    lines = (await cachew.metrics()).decode().splitlines()
    work = [line for line in lines if line.startswith(("cachew_work_running", "cachew_work_waiting"))]
    assert work
    return [line for line in work if not line.endswith(" 0.0")]


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository, and some that nobody has mirrored."""
    for number in range(COLD):
        repositories.make_repository(upstream.path(f"org/cold-{number}"), commits=5, files=5, size=10_000)
    made = repositories.make_repository(upstream.path("org/repo"), commits=60, files=20, size=60_000)
    for number in range(2):
        made.git("branch", f"b{number}", f"HEAD~{number}")
    return made


async def granted(cachew: Cachew, requests: Requests) -> bytes:
    """Get leave to download the LFS object, and return the request that does."""
    head, _, body = batch(requests).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[3:]
    path = f"{BASE}.git/info/lfs/objects/batch"
    answer = await ask(reactor, cachew.url, "POST", path, *lines, body=body)
    action = json.loads(answer.body)["objects"][0]["actions"]["download"]
    return requests.get(urlsplit(action["href"]).path, *(f"{one}: {other}" for one, other in action["header"].items()))


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_after_hundreds_of_clients_that_left_the_server_is_as_it_was(
    upstream: Upstream, repository: Repository, start: Start
) -> None:
    """500 mixed requests whose clients leave at random: places free, no child, no descriptor, 10 MB at most."""
    cachew = await start(CONFIG)
    await cachew.mirrored("org/repo")
    commits = repository.git("rev-list", "HEAD").split()
    oid = upstream.lfs.put("org/repo", LFS_DATA)
    chance = random.Random(20_260_101)
    requests = Requests(chance, commits, cachew.token, oid, b"")
    requests = Requests(chance, commits, cachew.token, oid, await granted(cachew, requests))

    await visits(cachew, (requests.next() for _ in range(WARM_UP)), chance)
    await cachew.quiet()
    await settle(reactor, children)
    before, known, memory = own_descriptors(upstream), children(), resident()
    await visits(cachew, (requests.next() for _ in range(COUNT)), chance)
    await cachew.quiet()

    def left() -> list[object]:
        after = own_descriptors(upstream)
        grown = {what: (before[what], after[what]) for what in after if after[what] > before[what]}
        producing = ["a pack is under way"] * cachew.parts.store.pack_cache.producing
        new = [child for child in children() if child not in known]
        return [*new, *temporary_files(cachew.state), *producing, *grown.items()]

    assert await settle(reactor, left) == []
    assert await places(cachew) == []
    assert resident() - memory < 10 * MIB
    whole = await ask(reactor, cachew.url, "POST", f"{BASE}/git-upload-pack", UPLOAD_PACK, V2, body=a_clone(commits[0]))
    assert whole.status == 200 and b"PACK" in whole.body


def a_clone(commit: str) -> bytes:
    """Return what a client asks for who has nothing."""
    return encode_all([b"command=fetch", b"object-format=sha1", DELIM, f"want {commit}".encode(), b"done", FLUSH])
