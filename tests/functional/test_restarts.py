"""Servers killed at the worst moments, and stopped politely: nothing half-made is served, nothing is lost."""

import json
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.inotify import IN_MODIFY, INotify
from twisted.internet.interfaces import IPushProducer
from twisted.python.filepath import FilePath
from zope.interface import implementer

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.daemon import Daemon
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Hang, Stall
from tests.functional.rawhttp import ask, connect, fetch_request, request_head
from tests.functional.remains import temporary_files
from tests.functional.replicas import tiers
from tests.functional.repositories import Repository
from tests.functional.restoring import cachew_command
from tests.functional.server import UNSCHEDULED
from tests.functional.upstream import Upstream
from tests.http.wire import Signal, patient

URL = "https://git.example/org/repo"
SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
OBJECT = "/api/v1/object/build/key"
ENSURE = "/git/git.example/org/repo/ensure-refs"
JSON = "Content-Type: application/json"


class Run(Protocol):
    """Starts a server in a process of its own."""

    async def __call__(self, config: str = "", *, head: str = "") -> Daemon:
        """Start one, on the state of the one before."""


class Systemd:
    """The socket to which servers tell how they are.

    :param path: where servers find it.
    """

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))

    def told(self) -> list[str]:
        """Return what was told since the last time."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(100).decode())
        return found


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """What hears of how servers are."""
    listener = Systemd(tmp_path / "notify")
    yield listener
    listener.socket.close()


@pytest_twisted.async_yield_fixture
async def run(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Run]:
    """Starts servers in processes of their own, one after the other; they are ended at the end."""
    daemons: list[Daemon] = []

    async def begin(config: str = "", *, head: str = "") -> Daemon:
        notify = tmp_path / "notify"
        environment = {"NOTIFY_SOCKET": str(notify)} if notify.exists() else {}
        daemon = Daemon(directory=tmp_path, upstream=upstream.url, config=config, head=head, environment=environment)
        daemons.append(daemon)
        await daemon.start(reactor)
        return daemon

    yield begin
    for daemon in daemons:
        if daemon.running:
            await daemon.kill()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that is large enough to be in the middle of it; to be copied."""
    path = tmp_path_factory.mktemp("large") / "repo.git"
    repositories.make_repository(path, commits=50, files=25, size=1_000_000)
    return path


@pytest.fixture
def repository(upstream: Upstream, large: Path) -> Repository:
    """The upstream's repository."""
    shutil.copytree(large, upstream.path("org/repo"))
    return Repository(upstream.path("org/repo"))


async def is_served(daemon: Daemon, git: Git, repository: Repository) -> None:
    """Check that clones, pulls and snapshots are whole."""
    git.config = {name: value for name, value in git.config.items() if not name.startswith("url.")}
    git.instead_of(*daemon.instead_of)
    await git.run("clone", "-q", URL, "afterwards")
    await git.run("-C", "afterwards", "fsck", "--strict")
    assert (await git.run("-C", "afterwards", "rev-parse", "HEAD")).out == repository.commit()
    await cachew_command(reactor, git, "--url", daemon.url, "git", "restore", URL, "restored")
    assert (await git.run("-C", "restored", "status", "--porcelain")).out == ""
    assert (await git.run("-C", "restored", "rev-parse", "HEAD")).out == repository.commit()


@pytest_twisted.ensureDeferred
async def test_killed_while_mirroring(upstream: Upstream, repository: Repository, git: Git, run: Run) -> None:
    """A server killed in the middle of a first clone starts again without the half of it, and mirrors anew."""
    daemon = await run()
    git.instead_of(*daemon.instead_of)
    stall = Stall(5_000_000)
    upstream.misbehave(stall, kind="pack")
    client = Deferred.fromCoroutine(git.run("clone", "-q", URL, "before", check=False))
    await stall.reached
    await upstream.journal.reached(2, "pack")
    assert temporary_files(daemon.state)
    await daemon.kill()
    assert (await client).code != 0
    assert not (git.home / "before").exists()
    upstream.behave()
    daemon = await run()
    assert temporary_files(daemon.state) == []
    assert not list(daemon.state.glob("mirrors/git.example/*"))
    await is_served(daemon, git, repository)
    await daemon.said("mirrored git.example/org/repo")


@pytest_twisted.ensureDeferred
async def test_killed_without_its_children(upstream: Upstream, repository: Repository, git: Git, run: Run) -> None:
    """What a killed server's children are still doing ends when the next one starts; a second one meanwhile doesn't."""
    daemon = await run()
    git.instead_of(*daemon.instead_of)
    upstream.misbehave(Stall(5_000_000), kind="pack")
    client = Deferred.fromCoroutine(git.run("clone", "-q", URL, "before", check=False))
    await upstream.journal.reached(2, "pack")
    with pytest.raises(AssertionError, match="state is in use by another cachew"):
        await run()
    assert await daemon.end(signal.SIGKILL) == -signal.SIGKILL
    assert (await client).code != 0
    upstream.behave()
    daemon = await run()
    assert "processes that a killed server had left" in daemon.output
    await is_served(daemon, git, repository)


@pytest_twisted.ensureDeferred
async def test_killed_while_making_a_snapshot(upstream: Upstream, repository: Repository, git: Git, run: Run) -> None:
    """A server killed in the middle of a snapshot has none after its start, and makes it when asked."""
    daemon = await run()
    client = await connect(reactor, daemon.url)
    client.send(request_head("GET", SNAPSHOT))
    assert (await client.head()).status == 200
    await client.take(1)
    await daemon.kill()
    await client.lost.wait()
    assert temporary_files(daemon.state)
    assert not client.received.endswith(b"0\r\n\r\n")
    upstream.misbehave(Stall(0), kind="pack")
    daemon = await run('[git]\nsnapshot-interval = "0s"\nbundle-interval = "0s"\nmirror-snapshot-interval = "0s"')
    assert temporary_files(daemon.state) == []
    assert (await ask(reactor, daemon.url, "HEAD", SNAPSHOT)).status == 404
    await is_served(daemon, git, repository)


async def operate(daemon: Daemon, action: str) -> None:
    """Have the operator begin something."""
    token = f"Authorization: Bearer {(daemon.state / 'admin-token').read_text().strip()}"
    path = f"/admin/repositories/git.example/org/repo/{action}"
    assert (await ask(reactor, daemon.url, "POST", path, token)).status == 202


@pytest_twisted.ensureDeferred
async def test_killed_while_making_a_snapshot_again(upstream: Upstream, repository: Repository, run: Run) -> None:
    """A server killed while it replaces a snapshot serves the old one whole after its start, then the new one."""
    daemon = await run(UNSCHEDULED)
    old = await ask(reactor, daemon.url, "GET", SNAPSHOT)
    await daemon.said("made snapshot")
    pushed = repositories.push_commit(repository)
    wanted = json.dumps({"refs": {"refs/heads/main": pushed}}).encode()
    assert (await ask(reactor, daemon.url, "POST", ENSURE, JSON, body=wanted)).status == 200
    partial = daemon.state / "cache" / "partial"
    assert not list(partial.iterdir())
    with written_to(partial) as begun:
        await operate(daemon, "snapshot")
        await patient(begun)
        await daemon.kill()
    assert list(partial.iterdir()) and temporary_files(daemon.state)
    upstream.misbehave(Hang())
    daemon = await run(UNSCHEDULED)
    assert temporary_files(daemon.state) == [] and not list(partial.iterdir())
    served = await ask(reactor, daemon.url, "GET", SNAPSHOT)
    assert (served.status, served.headers["x-cachew-snapshot-commit"]) == (200, repository.commit("main~1"))
    assert served.body == old.body and served.headers["content-length"] == str(len(old.body))
    upstream.behave()
    await operate(daemon, "snapshot")
    await daemon.said("made snapshot")
    new = await ask(reactor, daemon.url, "GET", SNAPSHOT)
    assert new.headers["x-cachew-snapshot-commit"] == pushed and new.headers["etag"] != served.headers["etag"]
    assert temporary_files(daemon.state) == [] and not list(partial.iterdir())


@contextmanager
def written_to(directory: Path) -> Iterator["Deferred[None]"]:
    """Watch a directory; fires when something is written to a file in it."""
    written: Deferred[None] = Deferred()

    def notice(*_: object) -> None:
        if not written.called:
            written.callback(None)

    watching = INotify()
    watching.startReading()
    watching.watch(FilePath(str(directory)), mask=IN_MODIFY, callbacks=[notice])
    try:
        yield written
    finally:
        watching.loseConnection()


@pytest_twisted.ensureDeferred
async def test_killed_while_sending_packs(upstream: Upstream, repository: Repository, git: Git, run: Run) -> None:
    """A server killed while packs are computed keeps no part of one; its mirror and finished packs are still good."""
    daemon = await run()
    git.instead_of(*daemon.instead_of)
    await git.run("clone", "-q", URL, "before")
    await daemon.said("mirrored git.example/org/repo")
    client = await connect(reactor, daemon.url)
    client.send(fetch_request(repository.commit()))
    await client.take(1)
    await daemon.kill()
    await client.lost.wait()
    parts = set(temporary_files(daemon.state))
    assert parts
    daemon = await run()
    assert not parts & set(temporary_files(daemon.state))
    before = upstream.count("pack")
    await is_served(daemon, git, repository)
    assert upstream.count("pack") == before


@implementer(IPushProducer)
class Drained:
    """Says when a client's output has left."""

    def __init__(self) -> None:
        self._left = Signal()

    def pauseProducing(self) -> None:
        """There is some."""

    def resumeProducing(self) -> None:
        """There is none any more."""
        self._left.fire()

    def stopProducing(self) -> None:
        """The connection ends."""

    async def wait(self) -> None:
        """Wait for that."""
        await self._left.wait()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("shared", [False, True], ids=["disk", "disk and s3"])
async def test_killed_while_an_object_comes(run: Run, store: str, tmp_path: Path, shared: bool) -> None:
    """Of an upload that a kill ended nothing is visible, here or elsewhere; what it should have replaced stays."""
    config = tiers(store, tmp_path.name) if shared else ""
    daemon = await run(config)
    token = f"Authorization: Bearer {(daemon.state / 'admin-token').read_text().strip()}"
    assert (await ask(reactor, daemon.url, "POST", OBJECT, token, body=b"old")).status == 200
    client, drained = await connect(reactor, daemon.url), Drained()
    client.transport.registerProducer(drained, True)
    client.send(request_head("POST", OBJECT, token, "Content-Length: 50000000"), bytes(40_000_000))
    await drained.wait()
    await daemon.kill()
    await client.lost.wait()
    partial = daemon.state / "cache" / "partial"
    assert list(partial.iterdir())
    daemon = await run(config)
    assert not list(partial.iterdir())
    assert (await ask(reactor, daemon.url, "GET", OBJECT, token)).body == b"old"
    stats = await ask(reactor, daemon.url, "GET", "/api/v1/stats", token)
    assert (json.loads(stats.body)["objects"], json.loads(stats.body)["size"]) == (1, 3)


@pytest_twisted.ensureDeferred
async def test_stopped_politely(upstream: Upstream, repository: Repository, run: Run, systemd: Systemd) -> None:
    """At SIGTERM readiness fails first, what is under way is finished, the exit code is 0, and systemd hears of it."""
    daemon = await run(head='shutdown-readiness-delay = "500ms"\nshutdown-timeout = "20s"')
    whole = await ask(reactor, daemon.url, "GET", SNAPSHOT)
    await daemon.said("made snapshot")
    client = await connect(reactor, daemon.url)
    client.send(request_head("GET", SNAPSHOT))
    head = await client.head()
    client.transport.pauseProducing()
    daemon.signal(signal.SIGTERM)
    await daemon.said("SIGTERM")
    assert (await ask(reactor, daemon.url, "GET", "/_readiness")).status == 503
    assert (await ask(reactor, daemon.url, "GET", "/_liveness")).status == 200
    await daemon.said("listening no more")
    client.transport.resumeProducing()
    assert await client.take(int(head.headers["content-length"])) == whole.body
    assert await daemon.ended() == 0
    assert "Traceback" not in daemon.output
    told = systemd.told()
    assert told[0] == "WATCHDOG=1" and told.index("READY=1") < told.index("STOPPING=1")


@pytest_twisted.ensureDeferred
async def test_stopped_while_busy(upstream: Upstream, repository: Repository, git: Git, run: Run) -> None:
    """A server whose clients take too long breaks them off after its patience and ends well, its children with it."""
    daemon = await run(head='shutdown-timeout = "500ms"')
    git.instead_of(*daemon.instead_of)
    upstream.misbehave(Stall(5_000_000), kind="pack")
    client = Deferred.fromCoroutine(git.run("clone", "-q", URL, "clone", check=False))
    await upstream.journal.reached(2, "pack")
    assert await daemon.end(signal.SIGTERM) == 0
    assert (await client).code != 0
    assert "Traceback" not in daemon.output
    assert temporary_files(daemon.state) == []


@pytest_twisted.ensureDeferred
async def test_a_hangup_is_heeded_and_does_not_end_the_server(run: Run) -> None:
    """SIGHUP has the server say that it goes on, and log a new link to the dashboard; it serves as before."""
    server = await run()
    server.signal(signal.SIGHUP)
    await server.said("received SIGHUP and go on")
    assert (await ask(reactor, server.url, "GET", "/_readiness")).status == 200
    await ask(reactor, server.url, "GET", "/nothing")
    await server.said("GET /nothing 404")  # the log is in order, so by then all that was said before has come
    links = re.findall(r"/admin/login\?code=\S+", server.output)
    assert len(set(links)) == len(links) == 2 and server.running


@pytest_twisted.ensureDeferred
async def test_the_first_look_after_a_restart_tells_what_is_there(
    upstream: Upstream, repository: Repository, git: Git, start: Start
) -> None:
    """The first scrape has what the store holds, and the dashboard when each upstream was asked, which is down now."""
    before = await start(UNSCHEDULED)
    git.instead_of(*before.instead_of)
    await before.mirrored("org/repo")
    await git.run("ls-remote", URL)
    token = f"Authorization: Bearer {before.token}"
    assert (await ask(reactor, before.url, "POST", "/api/v1/object/build/key", token, body=b"data")).status == 200
    (known,) = await before.parts.status.table.all()
    await before.stop()
    await upstream.stop()
    after = await start(UNSCHEDULED)
    scraped = (await after.metrics()).decode()
    assert re.search(r'cachew_store_objects\{store="objects"\} 1\.0', scraped), scraped
    (status,) = await after.parts.status.table.all()
    assert status.checked is not None and known.checked is not None and abs(status.checked - known.checked) < 1
    assert not status.stale
    git.config.clear()
    git.instead_of(*after.instead_of)
    await git.run("ls-remote", URL)
    (status,) = await after.parts.status.table.all()
    assert status.stale and status.checked is not None and abs(status.checked - known.checked) < 1 and status.error
