"""Mirrors made of, and kept up with, a real upstream."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.python.threadpool import ThreadPool

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import CommandSettings, GitCommands
from cachew.mirrors.discovery import Discovery
from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import CASE_MATTERS, Identity
from cachew.mirrors.listings import Listings
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirroring import Mirroring, MirrorRoom
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.plumbing.background import Background
from cachew.plumbing.clock import machine_clock
from cachew.plumbing.errors import CachewError, NotFound
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.upstream.listing import Capabilities, Listing, RemoteRef
from tests.fakes.instances import OneInstance
from tests.functional import repositories
from tests.functional.repositories import Repository
from tests.functional.upstream import Upstream

REPOSITORY = Identity("git.example", "org/repo")


def listing_of(repository: Repository) -> Listing:
    """List a repository as its upstream would."""
    lines = repository.git("for-each-ref", "--format=%(objectname) %(*objectname) %(refname)").splitlines()
    refs = []
    for line in lines:
        oid, peeled, name = line.split(" ")
        refs.append(RemoteRef(name, oid, None, peeled or None))
    target = repository.git("symbolic-ref", "HEAD").strip()
    oids = {ref.name: ref.oid for ref in refs}
    return Listing(
        refs=(RemoteRef("HEAD", oids.get(target), target), *refs),
        object_format=repository.git("rev-parse", "--show-object-format").strip(),
    )


class LocalRemote:
    """Lists the upstream's repository on disk, so that only fetches reach the upstream."""

    capabilities = Capabilities()

    def __init__(self, url: str, repository: Repository) -> None:
        self.url, self._repository = url, repository

    async def list_refs(self) -> Listing:
        return listing_of(self._repository)

    async def fetch_url(self) -> str:
        return self.url

    async def git_environment(self) -> Mapping[str, str]:
        return {}

    async def fetch(self, remote: object, question: bytes) -> None:
        return None


class House:
    """A collection of mirrors with all that it needs."""

    def __init__(self, reactor: Any, root: Path, upstream: Upstream, repository: Repository) -> None:
        self.reactor, self._latest = reactor, 0.0
        self.pool = ThreadPool(0, 4)
        self.pool.start()
        self.processes = Processes(reactor=reactor)
        self.background = Background()
        self.root = root
        home = root.parent / "empty-home"
        home.mkdir(exist_ok=True)
        self.runner = GitRunner(
            processes=self.processes,
            commands=GitCommands(CommandSettings(path="/usr/bin:/bin", home=home)),
            threads=Threads(reactor=reactor, pool=self.pool),
        )
        self.remote = LocalRemote(f"{upstream.url}org/repo", repository)
        resources = MirrorResources(
            git=self.runner,
            reactor=reactor,
            clock=machine_clock(),
            metrics=Metrics(),
            listings=Listings(limit=1_000_000),
            background=self.background,
            posts=cast(Any, self.remote),
            list_refs=lambda identity: self.remote.list_refs(),
            first=FirstClones(reactor=reactor),
        )
        listeners = MirrorListeners()
        place = MirrorRoot(path=root, grammar=CASE_MATTERS)
        self.mirrors = Mirrors(
            root=place,
            remote=lambda identity: cast(Any, self.remote),
            resources=resources,
            standing=cast(Any, OneInstance()),
            listeners=listeners,
        )
        self.discovery = Discovery(mirrors=self.mirrors, root=place, threads=self.runner.threads, done=True)
        self.mirroring = Mirroring(
            mirrors=self.mirrors,
            discovery=self.discovery,
            resources=resources,
            listeners=listeners,
            slots=Slots(limit=2),
            room=MirrorRoom(path=root, threads=self.runner.threads),
        )

    def later(self) -> float:
        """Return a time later than any before, for a listing."""
        self._latest = max(self._latest + 1, self.reactor.seconds())
        return self._latest

    async def close(self) -> None:
        await self.background.stop()
        await self.processes.stop()
        self.pool.stop()


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=20, branches=["main", "topic"], tags=["v1"])


@pytest_twisted.async_yield_fixture
async def house(tmp_path: Path, upstream: Upstream, repository: Repository) -> AsyncIterator[House]:
    """A house without mirrors."""
    from twisted.internet import reactor

    house = House(reactor, tmp_path / "mirrors", upstream, repository)
    yield house
    await house.close()


def mirrored(mirror: Mirror) -> Repository:
    """Look at a mirror's directory as a repository."""
    return Repository(mirror.directory)


@pytest_twisted.ensureDeferred
async def test_a_mirror_is_the_upstream(house: House, repository: Repository) -> None:
    """A new mirror has the upstream's heads, tags and HEAD, is whole, and holds no hook and no credential."""
    mirror = await house.mirroring.made(REPOSITORY)
    assert mirror.life.state is MirrorState.READY
    assert mirror.refs.by_name == repository.refs()
    mirrored(mirror).git("fsck", "--strict")
    assert mirror.refs.head_commit == repository.commit("HEAD")
    assert not list(mirror.directory.glob("hooks/*"))
    assert not list(house.root.glob(".aside/*"))
    await mirror.maintenance.index_packs()
    assert list(mirror.directory.glob("objects/pack/*.bitmap"))


@pytest_twisted.ensureDeferred
async def test_a_mirror_follows(house: House, upstream: Upstream, repository: Repository) -> None:
    """New commits, a forced and a deleted branch, and a directory in a branch's place arrive with one pack request."""
    mirror = await house.mirroring.made(REPOSITORY)
    old = repositories.push_commit(repository, "topic", "on a branch of its own")
    await mirror.updates.sync(listing_of(repository), house.later())
    new = repositories.push_commit(repository, "main", "new")
    repositories.delete_branch(repository, "topic")
    repositories.add_commit(repository, "refs/heads/topic/two", "below", parent="refs/heads/main")
    before = upstream.count("pack")
    await mirror.updates.sync(listing_of(repository), house.later())
    assert upstream.count("pack") == before + 1
    assert upstream.count("refs") == 0
    assert mirror.refs.by_name == repository.refs()
    assert mirror.refs.head_commit == new
    assert mirror.objects.missing([old, new]) == []
    assert old in mirrored(mirror).git("for-each-ref", "refs/cachew/")


@pytest_twisted.ensureDeferred
async def test_an_older_listing_changes_nothing(house: House, repository: Repository) -> None:
    """A listing that was asked for earlier never undoes a newer one that is on its way."""
    mirror = await house.mirroring.made(REPOSITORY)
    earlier = listing_of(repository)
    repositories.push_commit(repository, "main", "new")
    later = listing_of(repository)
    first, second = house.later(), house.later()
    await mirror.updates.sync(later, second)
    await mirror.updates.sync(earlier, first)
    assert mirror.refs.by_name == repository.refs()


@pytest_twisted.ensureDeferred
async def test_objects_by_id(house: House, upstream: Upstream, repository: Repository) -> None:
    """Ids that no ref names are fetched together; one that does not exist keeps none of the others away."""
    mirror = await house.mirroring.made(REPOSITORY)
    first = repositories.unadvertised_commit(repository, "one")
    second = repositories.unadvertised_commit(repository, "two")
    assert await mirror.wanted.ensure([first, second], "10.0.0.1") == []
    assert upstream.count("pack") == 2
    third = repositories.unadvertised_commit(repository, "three")
    assert await mirror.wanted.ensure(["1" * 40, third], "10.0.0.1") == ["1" * 40]


@pytest_twisted.ensureDeferred
async def test_a_restart_finds_it(house: House, upstream: Upstream, repository: Repository) -> None:
    """A new process serves the mirrors on disk, without locks and half-made things that a killed one left."""
    from twisted.internet import reactor

    mirror = await house.mirroring.made(REPOSITORY)
    (mirror.directory / "refs/heads/main.lock").touch()
    (mirror.directory / "objects/pack/tmp_pack_123").touch()
    (house.root / ".aside/half.git").mkdir(parents=True)
    (house.root / "git.example/foreign.git").mkdir()
    again = House(reactor, house.root, upstream, repository)
    await again.discovery.discover()
    await again.mirrors.first_looks.look_through()
    found = again.mirrors.find(REPOSITORY)
    assert found is not None and found.ready and found.refs.by_name == repository.refs()
    assert found.refs.head_commit == repository.commit("HEAD")
    names = [path.name for path in house.root.rglob("*")]
    assert not [name for name in names if name.endswith(".lock") or name.startswith(("tmp_", "half", "foreign"))]
    await again.close()


@pytest_twisted.ensureDeferred
async def test_damage_is_noticed(house: House, flush_logged_errors: Any) -> None:
    """A mirror that lost objects is discarded once it is suspected, and can be made again."""
    mirror = await house.mirroring.made(REPOSITORY)
    for pack in mirror.directory.glob("objects/pack/*.pack"):
        pack.unlink()
    with pytest.raises(CachewError):
        await mirror.verification.look()
    assert (await house.mirroring.made(REPOSITORY)).ready


@pytest_twisted.ensureDeferred
async def test_empty_repositories_have_no_mirror(house: House, upstream: Upstream, tmp_path: Path) -> None:
    """A repository without refs is not mirrored, and nothing is left of the attempt."""
    house.remote = LocalRemote(f"{upstream.url}org/empty", repositories.init(upstream.path("org/empty")))
    with pytest.raises(NotFound):
        await house.mirroring.made(Identity("git.example", "org/empty"))
    assert not list(house.root.glob("git.example/*"))


@pytest_twisted.ensureDeferred
async def test_sha256(house: House, upstream: Upstream) -> None:
    """SHA-256 repositories are mirrored like others."""
    path = upstream.path("org/sha256")
    made = repositories.make_repository(path, commits=3, object_format="sha256")
    house.remote = LocalRemote(f"{upstream.url}org/sha256", made)
    mirror = await house.mirroring.made(Identity("git.example", "org/sha256"))
    assert mirror.refs.object_format == "sha256"
    assert mirror.refs.by_name == made.refs()
    assert mirror.objects.missing(made.refs().values()) == []


@pytest_twisted.ensureDeferred
async def test_repack(house: House, repository: Repository) -> None:
    """A repack leaves one pack with a bitmap, and the mirror whole."""
    mirror = await house.mirroring.made(REPOSITORY)
    for number in range(3):
        repositories.push_commit(repository, "main", f"commit {number}")
        await mirror.updates.sync(listing_of(repository), house.later())
    await mirror.maintenance.repack()
    assert len(list(mirror.directory.glob("objects/pack/*.pack"))) == 1
    assert mirror.objects.missing(repository.refs().values()) == []
    mirrored(mirror).git("fsck", "--strict")
