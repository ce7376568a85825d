"""LFS snapshots made from a server on loopback."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from cachew.mirrors.commands import GitCommands
from cachew.plumbing.errors import CorruptObject, NotFound, StorageFull, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.snapshots.lfsarchive import STORE, LfsMaker
from cachew.snapshots.order import Begin
from cachew.snapshots.store import COMMIT_HEADER
from cachew.snapshots.variants import LFS, Variant
from cachew.upstream.agent import Agents
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import UpstreamClient
from cachew.upstream.credentials import Credentials
from cachew.upstream.credentialsources import StaticToken
from cachew.upstream.hosts import Hosts
from cachew.upstream.lfsdownloads import LfsDownloads
from cachew.upstream.redirects import Redirects
from cachew.upstream.remotes import Remotes
from tests.fakes.clock import FakeClock
from tests.fakes.spellings import spelled_as_asked
from tests.snapshots.repositories import IDENTITY, BareMirror, Output, bare, commit, git


class LfsServer:
    """The batch API and its objects."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.downloads: list[str] = []
        self.authorizations: list[str | None] = []
        self.asked, self.silent = threading.Event(), cast(threading.Event | None, None)
        self.refuses = False
        outer = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.authorizations.append(self.headers["Authorization"])
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if outer.refuses:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="LFS"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                listed = [outer.entry(one) for one in asked["objects"]]
                self.say(json.dumps({"transfer": "basic", "objects": listed}).encode())

            def do_GET(self) -> None:
                outer.asked.set()
                if outer.silent is not None:
                    outer.silent.wait(30)
                oid = self.path.rsplit("/", 1)[1]
                outer.downloads.append(oid)
                self.say(outer.objects[oid])

            def say(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/vnd.git-lfs+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/org/repo"

    def entry(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer for one object."""
        if asked["oid"] not in self.objects:
            return {**asked, "error": {"code": 404, "message": "no such object"}}
        return {**asked, "actions": {"download": {"href": f"{self.url}/objects/{asked['oid']}"}}}

    def keep(self, content: bytes) -> str:
        """Store an object and return its pointer."""
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[LfsServer]:
    """Return a running server."""
    server = LfsServer()
    yield server
    server.stop()


@pytest.fixture
def mirror(work: Path, server: LfsServer, tmp_path: Path) -> BareMirror:
    """Return a mirror of a repository that had an LFS object and has two others now."""
    commit(work, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "old.bin": server.keep(b"old")})
    (work / "old.bin").unlink()
    commit(work, {"a.bin": server.keep(b"first"), "b/new\nline.bin": server.keep(b"second" * 1000)})
    return bare(work, tmp_path / "lfs.git", upstream_url=server.url)


@pytest.fixture
def lfs(processes: Processes, commands: GitCommands, threads: Threads, server: LfsServer) -> LfsMaker:
    """Return a maker with a credential."""
    return maker(processes, commands, threads, server)


def maker(
    processes: Processes, commands: GitCommands, threads: Threads, server: LfsServer, clock: Any = reactor
) -> LfsMaker:
    """Make a maker."""
    agent = Agent(reactor)
    root = server.url.removesuffix("org/repo")
    hosts = Hosts(upstreams={IDENTITY.host: root})
    client = UpstreamClient(
        reactor=reactor,
        agents=Agents(agent, agent, HTTPConnectionPool(reactor)),
        redirects=Redirects(hosts),
        spellings=spelled_as_asked(reactor),
        backoff=Backoff(clock=FakeClock(), random=lambda: 0.0),
        metrics=Metrics(),
    )
    credentials = Credentials(sources=[(root, StaticToken(token="server", username=""))])
    remotes = Remotes(url_for=hosts.url_for, client=client, credentials=credentials)
    return LfsMaker(
        processes=processes,
        commands=commands,
        threads=threads,
        downloads=LfsDownloads(
            client=client,
            remotes=remotes,
            posts=AuthenticatedPosts(client=client, credentials=credentials),
            clock=FakeClock(),
        ),
        reactor=clock,
        timeout=60.0,
    )


def empty(directory: Path) -> Path:
    """Make a directory."""
    directory.mkdir()
    return directory


async def make(lfs: LfsMaker, mirror: BareMirror, directory: Path, ref: str = "") -> tuple[Mapping[str, str], Output]:
    """Make an LFS snapshot."""
    output, announced = Output(), dict[str, str]()

    async def begin(headers: Mapping[str, str]) -> Output:
        announced.update(headers)
        return output

    typed: Begin = begin
    await lfs(mirror.whole, Variant(LFS, ref), empty(directory), typed)
    return announced, output


@pytest_twisted.ensureDeferred
async def test_it_holds_the_objects_of_head_only(
    lfs: LfsMaker, mirror: BareMirror, server: LfsServer, tmp_path: Path
) -> None:
    """Each lies where git-lfs looks below ``.git``, with the content that its name promises."""
    headers, output = await make(lfs, mirror, tmp_path / "place")
    tree = output.extract(tmp_path / "out")
    found = {path.name: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    wanted = {hashlib.sha256(content).hexdigest(): content for content in (b"first", b"second" * 1000)}
    assert found == wanted
    assert sorted(output.names()) == sorted(f"./lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}" for oid in wanted)
    assert headers[COMMIT_HEADER] == mirror.refs.head_commit


@pytest_twisted.ensureDeferred
async def test_a_branch_has_its_own_objects(
    lfs: LfsMaker, work: Path, mirror: BareMirror, server: LfsServer, tmp_path: Path
) -> None:
    """Only those that the mirror has not are downloaded, what HEAD has stays, and the branch's own are kept nowhere."""
    await make(lfs, mirror, tmp_path / "one")
    git(work, "checkout", "-q", "-b", "topic")
    tip = commit(work, {"of-topic.bin": server.keep(b"the topic's")})
    git(work, "checkout", "-q", "main")
    git(mirror.directory, "fetch", "-q", str(work), "refs/heads/topic:refs/heads/topic")
    server.downloads.clear()
    headers, output = await make(lfs, mirror, tmp_path / "two", "refs/heads/topic")
    assert headers[COMMIT_HEADER] == tip and len(output.names()) == 3
    assert server.downloads == [hashlib.sha256(b"the topic's").hexdigest()]
    assert len([path for path in (mirror.directory / STORE).rglob("*") if path.is_file()]) == 2
    with pytest.raises(NotFound):
        await make(lfs, mirror, tmp_path / "three", "refs/heads/absent")


@pytest_twisted.ensureDeferred
async def test_the_credential_is_used_and_objects_are_fetched_once(
    lfs: LfsMaker, mirror: BareMirror, server: LfsServer, tmp_path: Path
) -> None:
    """The second snapshot needs no server, and the credential is in no file."""
    await make(lfs, mirror, tmp_path / "one")
    await make(lfs, mirror, tmp_path / "two")
    assert len(server.downloads) == 2
    assert set(server.authorizations) == {"Bearer server"}
    files = [path for path in mirror.directory.rglob("*") if path.is_file()]
    assert not [path for path in files if b"Bearer" in path.read_bytes()]


@pytest_twisted.ensureDeferred
async def test_lfsconfig_has_no_say(lfs: LfsMaker, work: Path, server: LfsServer, tmp_path: Path) -> None:
    """A repository can't send the server elsewhere, nor leave objects out."""
    text = "[lfs]\n\turl = http://127.0.0.1:1/elsewhere\n\tfetchexclude = *\n\tskipdownloaderrors = true\n"
    commit(work, {".lfsconfig": text, "a.bin": server.keep(b"first")})
    mirror = bare(work, tmp_path / "lfs.git", upstream_url=server.url)
    _, output = await make(lfs, mirror, tmp_path / "place")
    assert len(output.names()) == 1


@pytest_twisted.ensureDeferred
async def test_a_repository_without_lfs_has_none(lfs: LfsMaker, work: Path, tmp_path: Path) -> None:
    """Nothing is made, and nobody is asked."""
    mirror = bare(work, tmp_path / "plain.git")
    with pytest.raises(NotFound, match="no LFS objects"):
        await make(lfs, mirror, tmp_path / "place")


@pytest_twisted.ensureDeferred
async def test_a_missing_object_is_a_failure(
    lfs: LfsMaker, mirror: BareMirror, server: LfsServer, tmp_path: Path
) -> None:
    """An incomplete snapshot is never made."""
    del server.objects[hashlib.sha256(b"first").hexdigest()]
    with pytest.raises(UpstreamUnreachable, match="gives no download of LFS object"):
        await make(lfs, mirror, tmp_path / "place")


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_not_written_into_the_mirror(
    lfs: LfsMaker, mirror: BareMirror, server: LfsServer, tmp_path: Path
) -> None:
    """How a server that refuses wants to be logged in to is noted nowhere, where it would be taken for damage."""
    server.refuses = True
    before = (mirror.directory / "config").read_bytes(), sorted(path.name for path in mirror.directory.iterdir())
    with pytest.raises(UpstreamUnreachable, match="answered 401 to this server's own download"):
        await make(lfs, mirror, tmp_path / "place")
    assert (mirror.directory / "config").read_bytes() == before[0]
    assert {path.name for path in mirror.directory.iterdir()} <= {*before[1], "lfs"}


@pytest_twisted.ensureDeferred
async def test_objects_that_would_fill_the_disk(lfs: LfsMaker, work: Path, server: LfsServer, tmp_path: Path) -> None:
    """Nobody is asked for what a pointer says to be larger than there is room."""
    pointer = server.keep(b"first").replace("size 5", f"size {10**17}")
    commit(work, {"a.bin": pointer})
    mirror = bare(work, tmp_path / "lfs.git", upstream_url=server.url)
    with pytest.raises(StorageFull, match="no room for the LFS objects of"):
        await make(lfs, mirror, tmp_path / "place")
    assert server.authorizations == []


@pytest_twisted.ensureDeferred
async def test_a_damaged_object_is_noticed_and_fetched_anew(
    lfs: LfsMaker, mirror: BareMirror, server: LfsServer, tmp_path: Path
) -> None:
    """What is stored is believed only after its digest was computed."""
    await make(lfs, mirror, tmp_path / "one")
    oid = hashlib.sha256(b"first").hexdigest()
    stored = next((mirror.directory / "lfs").rglob(oid))
    stored.chmod(0o644)
    stored.write_bytes(b"fIrst")
    with pytest.raises(CorruptObject):
        await make(lfs, mirror, tmp_path / "two")
    await make(lfs, mirror, tmp_path / "three")
    assert server.downloads.count(oid) == 2


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_does_not_answer(
    mirror: BareMirror,
    processes: Processes,
    commands: GitCommands,
    threads: Threads,
    server: LfsServer,
    tmp_path: Path,
) -> None:
    """After the time-out it is given up, and nothing is left of what had come."""
    clock = FakeClock()
    server.silent = threading.Event()
    lfs = maker(processes, commands, threads, server, clock)
    making = Deferred.fromCoroutine(make(lfs, mirror, tmp_path / "place"))
    await threads(server.asked.wait, 30)
    clock.advance(60)
    with pytest.raises(UpstreamTimeout, match="did not send its LFS objects within 60 seconds"):
        await making
    server.silent.set()
    assert [path for path in (mirror.directory / "lfs").rglob("*") if path.is_file()] == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("wrong", [b"other", b"firs", b"first and more", b""])
async def test_what_is_not_what_its_id_says(
    lfs: LfsMaker, mirror: BareMirror, server: LfsServer, tmp_path: Path, wrong: bytes
) -> None:
    """Nothing of it is kept, not even for a moment under its own name."""
    server.objects[hashlib.sha256(b"first").hexdigest()] = wrong
    with pytest.raises((CorruptObject, UpstreamUnreachable)):
        await make(lfs, mirror, tmp_path / "place")
    kept = [path.name for path in (mirror.directory / "lfs").rglob("*") if path.is_file()]
    assert set(kept) <= {hashlib.sha256(b"second" * 1000).hexdigest()}
