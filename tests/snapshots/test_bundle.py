"""Bundles of real repositories."""

from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted

from cachew.cache.interface import Entry
from cachew.cache.memory import MemoryCache
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import BadRequest, NotFound, StorageUnavailable, UpstreamUnreachable
from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import read_all
from cachew.plumbing.threads import Threads
from cachew.snapshots.bundle import Bundles, parse_base
from cachew.snapshots.bundlecommands import BundleCommands
from cachew.snapshots.productions import Productions
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.storedproduction import Means
from tests.fakes.clock import FakeClock
from tests.snapshots.repositories import IDENTITY, INSTANCE, BareMirror, commit, git


class Upstream:
    """An upstream that is a repository on disk, and counts what it is asked."""

    def __init__(self, work: Path, mirror: BareMirror) -> None:
        self.work, self.mirror = work, mirror
        self.asked = self.fetches = 0
        self.failure: Exception | None = None

    async def tip(self, identity: Identity, ref: str) -> str | None:
        """Say where a branch is."""
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return git(self.work, "rev-parse", ref or "refs/heads/main")

    async def fetch(self, identity: Identity) -> None:
        """Bring the mirror up to date."""
        self.fetches += 1
        self.mirror.pull(self.work)


@pytest.fixture
def upstream(work: Path, mirror: BareMirror) -> Upstream:
    """Return the upstream of the mirror."""
    return Upstream(work, mirror)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands."""
    return FakeClock()


@pytest.fixture
def cache(clock: FakeClock) -> MemoryCache:
    """Return an empty cache."""
    return MemoryCache(limit=10_000_000, clock=clock)


@pytest.fixture
def bundles(
    upstream: Upstream,
    cache: MemoryCache,
    clock: FakeClock,
    processes: Processes,
    commands: GitCommands,
    threads: Threads,
    tmp_path: Path,
) -> Bundles:
    """Return bundles of the mirror."""
    (tmp_path / "scratch").mkdir()
    productions = Productions(
        means=Means(
            cache=cache,
            scratch=Scratch(path=tmp_path / "scratch", threads=threads),
            slots=Slots(limit=2),
            reactor=clock,
            clock=clock,
        )
    )

    async def ready(identity: Identity) -> Any:
        return upstream.mirror.whole

    return Bundles(
        cache=cache,
        productions=productions,
        git=BundleCommands(processes=processes, commands=commands),
        ready_mirror=ready,
        upstream=cast(Any, upstream),
        clock=clock,
    )


async def saved(entry: Entry | None, path: Path) -> Path:
    """Write a bundle to a file."""
    assert entry is not None
    return written(path, await read_all(entry.source(), 10_000_000))


def written(path: Path, data: bytes) -> Path:
    """Write a file."""
    path.write_bytes(data)
    return path


@pytest_twisted.ensureDeferred
async def test_a_bundle_brings_a_checkout_to_the_tip(
    bundles: Bundles, work: Path, mirror: BareMirror, tmp_path: Path
) -> None:
    """A clone that is at the base can be fast-forwarded from the bundle alone."""
    base = git(work, "rev-parse", "HEAD~1")
    entry = await bundles.find(INSTANCE, base)
    bundle = await saved(entry, tmp_path / "bundle")
    git(tmp_path, "clone", "-q", str(work), "clone")
    git(tmp_path / "clone", "reset", "-q", "--hard", base)
    git(tmp_path / "clone", "pull", "-q", "--ff-only", str(bundle), "main")
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == mirror.refs.head_commit
    assert entry is not None
    assert entry.info.headers["Content-Type"] == "application/x-git-bundle"


@pytest_twisted.ensureDeferred
async def test_a_bundle_is_made_once(bundles: Bundles, work: Path) -> None:
    """The second client gets the stored one, with the same entity tag."""
    base = git(work, "rev-parse", "HEAD~1")
    first, second = await bundles.find(INSTANCE, base), await bundles.find(INSTANCE, base)
    assert first is not None
    assert second is not None
    assert first.info == second.info
    assert first.info.expires == 7200.0, "two hours from now, as the config says unless told otherwise"


@pytest_twisted.ensureDeferred
async def test_an_older_bundle_is_served_when_the_disk_keeps_a_new_one_from_being_made(
    bundles: Bundles, upstream: Upstream, work: Path, tmp_path: Path
) -> None:
    """A client gets the bundle that was made before; who asks for one that never was is told what the disk said."""
    base = git(work, "rev-parse", "HEAD~1")
    older = await bundles.find(INSTANCE, base)
    commit(work, {"file": "newer\n"})
    upstream.mirror.pull(work)
    (tmp_path / "scratch").rmdir()
    (tmp_path / "scratch").write_text("in the way")
    found = await bundles.find(INSTANCE, base)
    assert older is not None and found is not None and found.info == older.info
    with pytest.raises(StorageUnavailable) as caught:
        await bundles.find(INSTANCE, git(work, "rev-parse", "HEAD~1"))
    assert "can't be made: File exists" in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_no_older_bundle_of_an_ended_instance_is_served(
    bundles: Bundles, upstream: Upstream, work: Path, tmp_path: Path
) -> None:
    """Where the disk keeps a new one from being made, the older one is no way to what the repository was before."""
    base = git(work, "rev-parse", "HEAD~1")
    assert await bundles.find(INSTANCE, base) is not None
    upstream.mirror.instance = Instance(IDENTITY, "1" * 32)
    (tmp_path / "scratch").rmdir()
    (tmp_path / "scratch").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        await bundles.find(upstream.mirror.instance, base)


@pytest_twisted.ensureDeferred
async def test_the_tip_needs_no_bundle_when_the_upstream_says_so(bundles: Bundles, upstream: Upstream) -> None:
    """Only an upstream that was just asked can say that a commit is the newest."""
    head = upstream.mirror.refs.head_commit
    assert head is not None
    assert await bundles.find(INSTANCE, head) is None
    assert upstream.asked == 1


@pytest_twisted.ensureDeferred
async def test_the_tip_of_a_stale_mirror_gets_the_upstreams_news(
    bundles: Bundles, upstream: Upstream, work: Path, tmp_path: Path
) -> None:
    """When the upstream is ahead of the mirror, the bundle leads to where the upstream is."""
    base = upstream.mirror.refs.head_commit
    assert base is not None
    new = commit(work, {"README": "new\n"})
    bundle = await saved(await bundles.find(INSTANCE, base), tmp_path / "bundle")
    assert f"{new} refs/heads/main" in git(work, "bundle", "list-heads", str(bundle)).splitlines()


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_fails_is_reported(bundles: Bundles, upstream: Upstream) -> None:
    """Nobody is told that a commit is the newest when the upstream could not be asked."""
    head = upstream.mirror.refs.head_commit
    assert head is not None
    upstream.failure = UpstreamUnreachable("https://git.example", "no connection")
    with pytest.raises(UpstreamUnreachable):
        await bundles.find(INSTANCE, head)


@pytest_twisted.ensureDeferred
async def test_an_unknown_base_costs_one_fetch_in_a_while(
    bundles: Bundles, upstream: Upstream, clock: FakeClock
) -> None:
    """A commit that nobody knows is not found, and asking again at once doesn't fetch again."""
    for _ in range(3):
        with pytest.raises(NotFound):
            await bundles.find(INSTANCE, "0" * 39 + "1")
    assert upstream.fetches == 1
    clock.advance(11)
    with pytest.raises(NotFound):
        await bundles.find(INSTANCE, "0" * 39 + "1")
    assert upstream.fetches == 2


@pytest_twisted.ensureDeferred
async def test_a_base_that_the_fetch_brings_is_served(
    bundles: Bundles, upstream: Upstream, work: Path, tmp_path: Path
) -> None:
    """A commit that was pushed after the mirror's last fetch is found all the same."""
    base = commit(work, {"README": "newer\n"})
    commit(work, {"README": "newest\n"})
    await saved(await bundles.find(INSTANCE, base), tmp_path / "bundle")
    assert upstream.fetches == 1


@pytest_twisted.ensureDeferred
async def test_a_base_that_was_just_pushed_is_the_tip(bundles: Bundles, upstream: Upstream, work: Path) -> None:
    """A commit that the mirror has to fetch first may be the newest one there is."""
    assert await bundles.find(INSTANCE, commit(work, {"README": "newest\n"})) is None
    assert upstream.fetches == 1


@pytest_twisted.ensureDeferred
async def test_the_limit_on_fetches_is_for_what_is_unknown(
    bundles: Bundles, upstream: Upstream, work: Path, tmp_path: Path
) -> None:
    """What the upstream has just said to be newer is fetched, whatever else was asked for before."""
    base = upstream.mirror.refs.head_commit
    assert base is not None
    with pytest.raises(NotFound):
        await bundles.find(INSTANCE, "0" * 39 + "1")
    new = commit(work, {"README": "new\n"})
    bundle = await saved(await bundles.find(INSTANCE, base), tmp_path / "bundle")
    assert f"{new} refs/heads/main" in git(work, "bundle", "list-heads", str(bundle)).splitlines()


@pytest_twisted.ensureDeferred
async def test_looking_for_a_bundle_makes_none(bundles: Bundles, upstream: Upstream, work: Path) -> None:
    """Only what was made before is found, nothing is fetched, and the tip has none when the upstream says so."""
    mirror, base = upstream.mirror, git(work, "rev-parse", "HEAD~1")
    for unknown in (base, "0" * 39 + "1"):
        with pytest.raises(NotFound, match="is cached"):
            await bundles.kept(mirror.whole, unknown)
    made = await bundles.find(INSTANCE, base)
    found = await bundles.kept(mirror.whole, base)
    assert made is not None and found is not None and found.info == made.info
    assert await bundles.kept(mirror.whole, mirror.refs.head_commit or "") is None
    newer = commit(work, {"README": "new\n"})
    with pytest.raises(NotFound, match="is cached"):
        await bundles.kept(mirror.whole, mirror.refs.head_commit or "")
    with pytest.raises(NotFound, match="is cached"):
        await bundles.kept(mirror.whole, newer)
    assert upstream.fetches == 0


@pytest_twisted.ensureDeferred
async def test_a_base_ahead_of_the_tip_has_no_bundle(bundles: Bundles, upstream: Upstream, work: Path) -> None:
    """When the branch was rewound there is nothing that a bundle could hold."""
    base = git(work, "rev-parse", "HEAD")
    git(upstream.mirror.directory, "update-ref", "refs/heads/main", f"{base}~1")
    with pytest.raises(NotFound, match="nothing newer"):
        await bundles.find(INSTANCE, base)


@pytest_twisted.ensureDeferred
async def test_other_branches_have_bundles(bundles: Bundles, work: Path, tmp_path: Path) -> None:
    """A bundle for another branch holds that branch's ref."""
    base = git(work, "rev-parse", "other~1")
    bundle = await saved(await bundles.find(INSTANCE, base, "refs/heads/other"), tmp_path / "bundle")
    assert git(work, "bundle", "list-heads", str(bundle)) == git(work, "rev-parse", "other") + " refs/heads/other"


@pytest_twisted.ensureDeferred
async def test_a_bundle_can_be_prepared(bundles: Bundles, mirror: BareMirror, work: Path, cache: MemoryCache) -> None:
    """What was made in the background is stored, once; a bundle that would be empty or impossible is left alone."""
    base = git(work, "rev-parse", "HEAD~1")
    for commit_there in (base, base, git(work, "rev-parse", "HEAD"), "0" * 39 + "1"):
        await bundles.prepare(mirror.whole, commit_there)
    assert (await cache.stats()).objects == 1


@pytest.mark.parametrize("text", ["", "HEAD", "abc", "g" * 40, "a" * 41, "a" * 63, "-" * 40, "a" * 40 + "\n"])
def test_a_base_that_is_no_commit_is_refused(text: str) -> None:
    """Only full object ids name a base."""
    with pytest.raises(BadRequest):
        parse_base(text)


@pytest.mark.parametrize("text", ["a" * 40, "0" * 64, "A" * 40])
def test_full_object_ids_are_bases(text: str) -> None:
    """Both object formats and both cases are taken."""
    assert parse_base(text) == text.lower()


@pytest_twisted.ensureDeferred
async def test_no_bundle_holds_a_commit_whose_parents_are_missing(
    bundles: Bundles, upstream: Upstream, work: Path, tmp_path: Path
) -> None:
    """Of a shallow mirror there are bundles from a commit that it has on, and none that git would reject."""
    side = git(work, "rev-parse", "HEAD~1")
    for number in range(5):
        commit(work, {"README": f"{number}\n"})
    base = git(work, "rev-parse", "HEAD~1")
    git(tmp_path, "clone", "-q", "--bare", "--depth=3", "--template=", f"file://{work}", "shallow.git")
    upstream.mirror = mirror = BareMirror(tmp_path / "shallow.git")
    entry = await bundles.find(INSTANCE, base)
    assert entry is not None
    entry.close()
    git(mirror.directory, "fetch", "-q", "--depth=1", str(work), side)
    assert await bundles._git.is_cut(mirror.whole, ["refs/heads/main"])
    with pytest.raises(NotFound, match="cut off upstream"):
        await bundles.find(INSTANCE, side)
    await bundles.prepare(mirror.whole, side)
