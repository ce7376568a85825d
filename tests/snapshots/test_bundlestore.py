"""Bundle lists of real repositories, used by real git."""

import http.server
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Unpack

import pytest
import pytest_twisted
from obstore.store import MemoryStore

from cachew.cache.interface import Cache, ObjectOptions
from cachew.cache.memory import MemoryCache
from cachew.cache.objectstore import ObjectStoreCache
from cachew.cache.objectupload import ObjectStoreWriter
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.identity import Identity
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import read_all
from cachew.plumbing.threads import Threads
from cachew.snapshots.bundlecommands import BundleCommands
from cachew.snapshots.bundlelist import render
from cachew.snapshots.bundlestore import LIST_LIMIT, BundleStore
from cachew.snapshots.packbundle import PackBundles
from cachew.snapshots.productions import Productions
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.storedproduction import Means
from tests.fakes.clock import FakeClock
from tests.snapshots.repositories import IDENTITY, INSTANCE, BareMirror, commit, git

DAY = 86_400


class NoUpstream:
    """Nobody asks the upstream for a list."""

    async def tip(self, identity: Identity, ref: str) -> str | None:
        """Not called."""
        raise AssertionError(identity, ref)

    async def fetch(self, identity: Identity) -> None:
        """Not called."""
        raise AssertionError(identity)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock at one billion seconds."""
    clock = FakeClock()
    clock.advance(1_000_000_000)
    return clock


@pytest.fixture
def cache(clock: FakeClock) -> MemoryCache:
    """Return an empty cache."""
    return MemoryCache(limit=10_000_000, clock=clock)


StoreOver = Callable[[Cache], BundleStore]


@pytest.fixture
def store_over(
    clock: FakeClock,
    mirror: BareMirror,
    processes: Processes,
    commands: GitCommands,
    threads: Threads,
    tmp_path: Path,
) -> StoreOver:
    """Return what gives the lists of the mirror, kept in a cache."""
    (tmp_path / "scratch").mkdir()

    async def ready(identity: Identity) -> Any:
        return mirror.whole

    def over(cache: Cache) -> BundleStore:
        productions = Productions(
            means=Means(
                cache=cache,
                scratch=Scratch(path=tmp_path / "scratch", threads=threads),
                slots=Slots(limit=2),
                reactor=clock,
                clock=clock,
            )
        )
        return BundleStore(
            cache=cache,
            productions=productions,
            git=BundleCommands(processes=processes, commands=commands),
            packs=PackBundles(processes=processes, commands=commands, threads=threads, ready_mirror=ready),
            ready_mirror=ready,
            clock=clock,
            in_thread=threads,
        )

    return over


@pytest.fixture
def store(store_over: StoreOver, cache: MemoryCache) -> BundleStore:
    """Return the lists of the mirror."""
    return store_over(cache)


async def contents(store: BundleStore) -> dict[str, bytes]:
    """Return the bundles of the list."""
    found = {}
    for bundle in await store.listed(INSTANCE):
        entry = await store.open(INSTANCE, bundle.name)
        assert entry is not None
        found[bundle.name] = await read_all(entry.source(), 10_000_000)
    return found


@pytest_twisted.ensureDeferred
async def test_a_list_grows_by_what_changed(
    store: BundleStore, mirror: BareMirror, work: Path, tmp_path: Path, clock: FakeClock
) -> None:
    """The full bundle and the delta after it together give a repository without a server."""
    assert await store.update(IDENTITY)
    assert not await store.update(IDENTITY)
    new = commit(work, {"README": "new\n"})
    mirror.pull(work)
    clock.advance(60)
    assert await store.update(IDENTITY)
    listed = await store.listed(INSTANCE)
    assert [bundle.token for bundle in listed] == [1_000_000_000, 1_000_000_060]
    git(tmp_path, "init", "-q", "fresh")
    for name, data in (await contents(store)).items():
        (tmp_path / name).write_bytes(data)
        git(tmp_path / "fresh", "fetch", "-q", str(tmp_path / name), "+refs/heads/*:refs/bundles/*")
    assert git(tmp_path / "fresh", "rev-parse", "refs/bundles/main") == new
    assert git(tmp_path / "fresh", "rev-parse", "refs/bundles/other") == git(work, "rev-parse", "other")


@pytest_twisted.ensureDeferred
async def test_a_lost_bundle_ends_the_list(store: BundleStore, clock: FakeClock, cache: MemoryCache) -> None:
    """Nobody is sent to a bundle that is gone, and the next update begins anew."""
    await store.update(IDENTITY)
    (bundle,) = await store.listed(INSTANCE)
    await cache.delete("git", f"bundle:{INSTANCE.name} {bundle.name}")
    assert await store.listed(INSTANCE) == ()
    assert await store.update(IDENTITY)
    assert len(await store.listed(INSTANCE)) == 1


@pytest_twisted.ensureDeferred
async def test_a_list_that_is_too_long_is_none(store_over: StoreOver, clock: FakeClock) -> None:
    """Whoever wrote it: clients get along without, and the next update begins anew."""
    cache = MemoryCache(limit=2 * LIST_LIMIT, clock=clock)
    writer = await cache.create("git", f"bundle-list:{INSTANCE.name}")
    await writer.write(bytes(LIST_LIMIT + 1))
    await writer.commit()
    store = store_over(cache)
    assert await store.listed(INSTANCE) == ()
    assert await store.update(IDENTITY) and len(await store.listed(INSTANCE)) == 1


@pytest_twisted.ensureDeferred
async def test_a_rewound_branch_needs_no_bundle(store: BundleStore, mirror: BareMirror) -> None:
    """Where nothing new is reachable, no empty bundle is made."""
    await store.update(IDENTITY)
    git(mirror.directory, "update-ref", "refs/heads/main", "refs/heads/main~1")
    assert not await store.update(IDENTITY)


class OvertakenCache(ObjectStoreCache):
    """Shared storage of a replica that lets others go first with what it is about to make."""

    overtake: Callable[[], Awaitable[object]]

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> ObjectStoreWriter:
        """Begin an object."""
        if key.startswith("bundle:"):
            await self.overtake()
        return await super().create(namespace, key, **options)


@pytest_twisted.ensureDeferred
async def test_a_late_replica_leaves_the_list_of_another(
    store_over: StoreOver, mirror: BareMirror, work: Path, threads: Threads, clock: FakeClock
) -> None:
    """What was listed while a replica made its bundle stays listed, and that replica goes on from there."""
    shared = Bucket(store=MemoryStore(), threads=threads)
    late = OvertakenCache(bucket=shared, max_ttl=DAY, clock=clock)
    lists = store_over(late)
    others = store_over(ObjectStoreCache(bucket=shared, max_ttl=DAY, clock=clock))
    await others.update(IDENTITY)
    commit(work, {"README": "new\n"})
    mirror.pull(work)
    clock.advance(60)

    async def overtake() -> None:
        await others.update(IDENTITY)
        clock.advance(60)
        commit(work, {"README": "newer\n"})
        mirror.pull(work)

    late.overtake = overtake
    assert not await lists.update(IDENTITY)
    listed = await lists.listed(INSTANCE)
    assert [bundle.token for bundle in listed] == [1_000_000_000, 1_000_000_060]
    assert await others.update(IDENTITY)
    assert (await lists.listed(INSTANCE))[:2] == listed


@pytest.mark.parametrize("name", ["", "../x", "1-a", "key ref=x"])
@pytest_twisted.ensureDeferred
async def test_names_of_other_things_open_nothing(store: BundleStore, name: str) -> None:
    """A bundle's name can't lead to another object."""
    assert await store.open(INSTANCE, name) is None


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Return a directory and the address at which it is served."""
    root = tmp_path / "web"
    root.mkdir()

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, directory=str(root), **more)  # type: ignore[arg-type]

        def translate_path(self, path: str) -> str:
            asked = path.rsplit("/", 1)[1].replace("bundle-list?bundle=", "")
            return str(root / asked)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_port}/git/x"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest_twisted.ensureDeferred
async def test_stock_git_clones_from_the_list(
    store: BundleStore, mirror: BareMirror, work: Path, tmp_path: Path, web: tuple[Path, str], clock: FakeClock
) -> None:
    """``git clone --bundle-uri`` follows the list and takes the branches from its bundles."""
    await store.update(IDENTITY)
    new = commit(work, {"README": "new\n"})
    mirror.pull(work)
    clock.advance(60)
    await store.update(IDENTITY)
    root, address = web
    for name, data in (await contents(store)).items():
        (root / name).write_bytes(data)
    listed = await store.listed(INSTANCE)
    (root / "bundle-list").write_text(render(listed, {one.name: f"{address}/{one.name}" for one in listed}))
    git(tmp_path, "clone", "-q", f"--bundle-uri={address}/bundle-list", f"file://{work}", "clone")
    assert git(tmp_path / "clone", "rev-parse", "refs/bundles/main") == new


@pytest_twisted.ensureDeferred
async def test_a_shallow_repository_has_no_list(store_over: StoreOver, cache: MemoryCache, mirror: BareMirror) -> None:
    """No full bundle can hold it, and git would reject the clone."""
    (mirror.directory / "shallow").write_text(f"{mirror.head_commit}\n")
    store = store_over(cache)
    assert not await store.update(IDENTITY)
    assert await store.listed(INSTANCE) == ()


@pytest.fixture
def packed(mirror: BareMirror) -> BareMirror:
    """Return the mirror with nothing but branches and tags, in one pack."""
    git(mirror.directory, "update-ref", "-d", "refs/cachew/2024/keep")
    git(mirror.directory, "repack", "-q", "-a", "-d")
    return mirror


async def only(store: BundleStore) -> tuple[str, bytes]:
    """Return the name and the content of the list's one bundle."""
    ((name, data),) = (await contents(store)).items()
    return name, data


@pytest_twisted.ensureDeferred
async def test_the_mirror_s_pack_is_sent_as_a_full_bundle(
    store: BundleStore, packed: BareMirror, work: Path, tmp_path: Path
) -> None:
    """Of a full bundle a header is kept; what is sent is a bundle of all branches and tags, and holds nothing else."""
    assert await store.update(IDENTITY)
    (pack,) = packed.directory.glob("objects/pack/*.pack")
    name, data = await only(store)
    header, _, rest = data.partition(b"\n\n")
    assert rest == pack.read_bytes() and await store.size(INSTANCE) == len(header) + 2
    (tmp_path / "bundle").write_bytes(data)
    heads = git(tmp_path, "bundle", "list-heads", "bundle").splitlines()
    assert heads == [f"{oid} {ref}" for ref, oid in sorted(packed.by_name.items())]
    git(tmp_path, "clone", "-q", "-b", "main", "bundle", "clone")
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == git(work, "rev-parse", "main")
    info = await store.stat(INSTANCE, name)
    assert info is not None and info.size == len(data) and "X-Cachew-Pack" not in info.headers


@pytest_twisted.ensureDeferred
async def test_parts_of_a_bundle_over_a_pack(store: BundleStore, packed: BareMirror) -> None:
    """Any part of it can be had, in pieces of any size, and goes on after the pack's name is gone."""
    await store.update(IDENTITY)
    name, data = await only(store)
    length = data.index(b"\n\n") + 2
    entry = await store.open(INSTANCE, name)
    assert entry is not None and entry.info.etag
    for path in packed.directory.glob("objects/pack/*.pack"):
        path.unlink()
    for begin, count in ((0, 5), (3, length), (length - 1, 2), (length, 10), (length + 7, None), (len(data) - 1, 50)):
        end = len(data) if count is None else begin + count
        assert await read_all(entry.source(begin, count), 10_000_000) == data[begin:end]
    entry.close()


@pytest_twisted.ensureDeferred
async def test_a_repack_ends_the_list(store: BundleStore, packed: BareMirror, work: Path, clock: FakeClock) -> None:
    """A bundle whose pack has been joined with others is gone, and the next update begins anew with the joined one."""
    await store.update(IDENTITY)
    (old,) = await store.listed(INSTANCE)
    commit(work, {"README": "new\n"})
    packed.pull(work)
    assert await store.listed(INSTANCE) == (old,)
    git(packed.directory, "repack", "-q", "-a", "-d")
    assert await store.listed(INSTANCE) == () and await store.open(INSTANCE, old.name) is None
    clock.advance(60)
    assert await store.update(IDENTITY)
    (new,) = await store.listed(INSTANCE)
    (pack,) = packed.directory.glob("objects/pack/*.pack")
    assert new.token > old.token and (await only(store))[1].endswith(pack.read_bytes())


@pytest.mark.parametrize("more", ["hidden ref", "note", "second pack", "loose object", "other checksum"])
@pytest_twisted.ensureDeferred
async def test_a_bundle_of_its_own_where_the_pack_holds_something_else(
    store: BundleStore, packed: BareMirror, work: Path, tmp_path: Path, more: str
) -> None:
    """What no branch and no tag reaches is given to nobody, and what a pack lacks is missed by nobody."""
    (pack,) = packed.directory.glob("objects/pack/*.pack")
    if more == "hidden ref":
        git(packed.directory, "update-ref", "refs/cachew/2024/kept", "HEAD")
    elif more == "note":
        git(packed.directory, "update-ref", "refs/notes/x", "HEAD")
    elif more == "second pack":
        commit(work, {"README": "new\n"})
        packed.pull(work)
        git(packed.directory, "repack", "-q", "-d")
    elif more == "loose object":
        git(packed.directory, "hash-object", "-w", "--stdin", stdin=b"loose")
    else:
        for path in packed.directory.glob(f"objects/pack/{pack.stem}.*"):
            path.rename(path.with_name(f"pack-{'0' * 40}{path.suffix}"))
    await store.update(IDENTITY)
    _, data = await only(store)
    assert await store.size(INSTANCE) == len(data)
    (tmp_path / "bundle").write_bytes(data)
    git(tmp_path, "clone", "-q", "-b", "main", "bundle", "clone")
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == git(work, "rev-parse", "main")
