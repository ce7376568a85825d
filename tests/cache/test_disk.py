"""The cache in a directory: the contract, and what a disk can do to it."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted

from cachew.cache.disk import DiskCache
from cachew.cache.interface import object_key
from cachew.cache.objectfiles import ObjectFiles, info_of, infos_of
from cachew.cache.tiered import TieredCache
from cachew.plumbing.errors import CorruptObject, StorageFull, StorageUnavailable, TooLarge
from cachew.plumbing.streams import FileSource, read_all
from cachew.plumbing.threads import Threads
from cachew.plumbing.together import all_of
from tests.contracts.cache import LARGE, LIMIT, MAX_TTL, CacheContract, Subject, fetch, missing, opened, sha256, store
from tests.fakes.caches import disk_cache
from tests.fakes.clock import FakeClock
from tests.fakes.tiers import numbered
from tests.functional.loglines import listening


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock, threads: Threads) -> Callable[..., DiskCache]:
    """Return a function that makes a cache over the same directory every time."""

    def make(**settings: object) -> DiskCache:
        chosen: dict[str, Any] = {"limit": LIMIT, "max_ttl": MAX_TTL, **settings}
        return disk_cache(tmp_path / "cache", clock=clock, threads=threads, **chosen)

    return make


class TestDisk(CacheContract):
    """It keeps the contract."""

    @pytest_twisted.async_yield_fixture
    async def subject(self, make: Callable[..., DiskCache], clock: FakeClock) -> AsyncIterator[Subject]:
        """Give the cache."""
        cache = make()
        await cache.start()
        yield Subject(cache, clock)
        await cache.stop()


class TestRestartedDisk(CacheContract):
    """It keeps the contract when nothing that it holds was written by this process."""

    @pytest_twisted.async_yield_fixture
    async def subject(self, make: Callable[..., DiskCache], clock: FakeClock) -> AsyncIterator[Subject]:
        """Give a cache that remembers no file as sound."""
        cache = make(remembered=0)
        await cache.start()
        yield Subject(cache, clock)
        await cache.stop()


def files(directory: Path) -> list[Path]:
    """Return the files of finished objects."""
    return sorted((directory / "cache").glob("objects/*/*/*"))


@pytest_twisted.ensureDeferred
async def test_many_are_looked_at_together(tmp_path: Path, clock: FakeClock, threads: Threads) -> None:
    """A page of what there is costs few jobs for threads; each object has its own answer, and counts as used."""
    jobs = 0

    async def counted(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        nonlocal jobs
        jobs += 1
        return await threads(function, *arguments, **named)

    cache = disk_cache(tmp_path / "cache", limit=None, clock=clock, threads=cast(Any, counted))
    await cache.start()
    infos = [await store(cache, f"key {number}", b"x" * number) for number in range(1, 41)]
    jobs = 0
    found = await all_of(cache.stat("ns", f"key {number}") for number in range(50))
    assert found == [None, *infos, *[None] * 9] and jobs <= 8
    await cache.stop()


def test_what_can_not_be_read_keeps_no_other_from_being_told_of(tmp_path: Path) -> None:
    """It is told why."""
    files = ObjectFiles(tmp_path)
    files.open()
    assert [type(one) for one in infos_of(files, [("ns", "\0"), ("ns", "00")], 0.0)] == [ValueError, type(None)]
    with pytest.raises(ValueError, match="null"):
        info_of(files, ("ns", "\0"), 0.0)


@pytest_twisted.ensureDeferred
async def test_survives_a_restart(make: Callable[..., DiskCache]) -> None:
    """What was committed is there after a restart, with headers, tag and counts."""
    before = make()
    await before.start()
    info = await store(before, "key", LARGE, headers={"A": "b"}, etag="v1")
    stats = await before.stats()
    await before.stop()
    after = make()
    await after.start()
    assert await after.stat("ns", "key") == info
    assert await fetch(after, "key") == LARGE
    assert await after.stats() == stats
    await after.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("damage", ["lost", "rubbish", "cut short", *(f"page {number}" for number in range(4))])
async def test_rebuilds_a_lost_or_damaged_index(make: Callable[..., DiskCache], tmp_path: Path, damage: str) -> None:
    """Without its index, or with a damaged one, the cache has all that it had."""
    cache = make()
    await cache.start()
    await store(cache, "key", LARGE)
    await store(cache, "other", b"data", namespace="more")
    stats, namespaces = await cache.stats(), await cache.namespaces()
    await cache.stop()
    spoil(tmp_path / "cache" / "index.sqlite", damage)
    await cache.start()
    assert (await cache.stats(), await cache.namespaces()) == (stats, namespaces)
    assert await fetch(cache, "key") == LARGE
    await store(cache, "new", b"data")
    assert (await cache.stats()).objects == 3
    await cache.stop()


def spoil(index: Path, damage: str) -> None:
    """Damage an SQLite file of pages of 4 KiB."""
    content = index.read_bytes()
    if damage == "lost":
        index.unlink()
    elif damage == "rubbish":
        index.write_bytes(b"rubbish" * 1000)
    elif damage == "cut short":
        index.write_bytes(content[: len(content) // 2])
    else:
        start = int(damage.removeprefix("page ")) * 4096
        assert start < len(content)
        index.write_bytes(content[:start] + b"\xa5" * 4096 + content[start + 4096 :])


@pytest_twisted.ensureDeferred
async def test_a_file_that_vanished_is_forgotten(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """A file that somebody removed is a miss at once, and leaves the counts at the next start."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    files(tmp_path)[0].unlink()
    assert await missing(cache, "key")
    await cache.stop()
    await cache.start()
    assert (await cache.stats()).objects == 0
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_unfinished_files_are_removed_at_start(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """What a crash left unfinished is gone after the next start and was never visible."""
    cache = make()
    await cache.start()
    writer = await cache.create("ns", "key")
    await writer.write(LARGE)
    assert list((tmp_path / "cache" / "partial").iterdir())
    await cache.stop()
    other = make()
    await other.start()
    assert await missing(other, "key")
    assert not list((tmp_path / "cache" / "partial").iterdir())
    await writer.abort()
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_files_of_the_index_that_are_cut_short_under_the_server(
    make: Callable[..., DiskCache], tmp_path: Path
) -> None:
    """Whichever it is, the process goes on, and what is stored then is there: none of them is mapped."""
    cache = make()
    await cache.start()
    for number in range(50):
        await store(cache, f"key {number}", b"data")
    for path in sorted((tmp_path / "cache").glob("index.sqlite?*")):
        os.truncate(path, 0)
    for number in range(50):
        with contextlib.suppress(StorageUnavailable):
            await store(cache, f"other {number}", b"data")
    await store(cache, "key", b"data")
    assert await fetch(cache, "key") == b"data"
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_an_index_that_another_process_has_open_is_left_alone(
    make: Callable[..., DiskCache], tmp_path: Path
) -> None:
    """The second cache of a directory fails in clear words, and the first goes on."""
    cache = make()
    await cache.start()
    with pytest.raises(StorageUnavailable, match="another process has the disk cache open"):
        await make().start()
    await store(cache, "key", b"data")
    assert await fetch(cache, "key") == b"data"
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("keep", [0, 10, 1000, 2_400_000, 2_500_000, -1])
async def test_a_truncated_file_is_a_miss(make: Callable[..., DiskCache], tmp_path: Path, keep: int) -> None:
    """A file that was cut short is noticed when it is opened, at whatever length, and removed."""
    cache = make()
    await cache.start()
    await store(cache, "key", LARGE)
    path = files(tmp_path)[0]
    os.truncate(path, keep if keep >= 0 else path.stat().st_size - 1)
    assert await missing(cache, "key")
    assert not path.exists()
    assert (await cache.stats()).objects == 0
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("position", [0, 1_048_576, 2_499_999])
async def test_damaged_content_is_never_served(make: Callable[..., DiskCache], tmp_path: Path, position: int) -> None:
    """A flipped byte in a file from before the restart fails its reader before it gets there, and ends the object."""
    cache = make(read_ahead=0)
    await cache.start()
    await store(cache, "key", LARGE)
    await cache.stop()
    flip(files(tmp_path)[0], position)
    await cache.start()
    async with opened(cache, "key") as entry:
        source, received = entry.source(), b""
        with pytest.raises(CorruptObject):
            while piece := await source.read(100_000):
                received += piece
        source.close()
    assert LARGE.startswith(received)
    assert len(received) <= position
    assert await missing(cache, "key")
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("position", [0, 1_048_576, 2_499_999])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_damaged_object_is_as_good_as_absent(
    make: Callable[..., DiskCache], tmp_path: Path, position: int, restarted: bool
) -> None:
    """A flipped byte is found before the first byte is given out, also when the file's time is put back."""
    damage: list[str] = []
    cache = make(on_damage=lambda: damage.append("object"))
    await cache.start()
    await store(cache, "key", LARGE)
    (path,) = files(tmp_path)
    before = path.stat()
    if restarted:
        await cache.stop()
    flip(path, position)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if restarted:
        await cache.start()
    assert await missing(cache, "key") and not path.exists() and damage == ["object"]
    assert (await cache.stats()).objects == 0
    await store(cache, "key", LARGE)
    assert await fetch(cache, "key") == LARGE
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_scrub_reads_everything(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """What is damaged is removed by a scrub though nobody asks for it; reading is paced, and counts as no use."""
    damage, read = [], list[int]()

    async def pace(size: int) -> None:
        read.append(size)

    cache = make(on_damage=lambda: damage.append("object"), read_ahead=0)
    await cache.start()
    for key in ("one", "two"):
        await store(cache, key, LARGE)
    await cache.stop()
    flip(files(tmp_path)[0], 2_000_000)
    await cache.start()
    await cache.scrub(pace)
    assert damage == ["object"] and len(files(tmp_path)) == 1 and sum(read) >= len(LARGE)
    async with opened(cache, "one" if await missing(cache, "two") else "two") as entry:
        source = entry.source()
        assert isinstance(source, FileSource)
        source.close()
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_damaged_record_is_a_miss(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """A flipped byte in what is written down beside the content makes the object a miss."""
    cache = make()
    for offset in (1, 20, 33, 200):
        await cache.start()
        await store(cache, "key", b"data")
        path = files(tmp_path)[0]
        flip(path, path.stat().st_size - offset)
        assert await missing(cache, "key")
        await cache.stop()


def flip(path: Path, position: int) -> None:
    """Damage one byte of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 0x40]))


@pytest_twisted.ensureDeferred
async def test_one_reading_restores_trust(make: Callable[..., DiskCache]) -> None:
    """After one whole reading found it sound, a file from before the restart leaves by sendfile like any other."""
    cache = make(read_ahead=0)
    await cache.start()
    await store(cache, "key", LARGE)
    async with opened(cache, "key") as entry:
        source = entry.source()
        assert isinstance(source, FileSource)
        source.close()
    await cache.stop()
    cache = make(read_ahead=0)
    await cache.start()
    async with opened(cache, "key") as entry:
        first = entry.source()
        assert not isinstance(first, FileSource)
        assert sha256(await read_all(first, 1 << 30)) == entry.info.digest
        second = entry.source()
        assert isinstance(second, FileSource)
        second.close()
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_uses_survive_a_restart(make: Callable[..., DiskCache], clock: FakeClock) -> None:
    """What was read last before a restart is not what goes first after it."""
    cache = make()
    await cache.start()
    for key in ("a", "b", "c"):
        await store(cache, key, LARGE[:1_900_000])
        clock.advance(1)
    await fetch(cache, "a")
    await cache.stop()
    await cache.start()
    await store(cache, "d", LARGE[:1_900_000])
    assert [key for key in "abcd" if not await missing(cache, key)] == ["a", "c", "d"]
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_keeps_the_file_system_from_filling(make: Callable[..., DiskCache]) -> None:
    """When the file system has too little left, old objects go; when there are none, the new one is refused."""
    left = [100_000]
    cache = make(min_free=50_000, free=lambda directory: left[0])
    await cache.start()
    await store(cache, "old", b"x" * 20_000)
    left[0] = 45_000
    await store(cache, "new", b"x" * 10_000)
    assert await missing(cache, "old")
    assert not await missing(cache, "new")
    left[0] = 10_000
    writer = await cache.create("ns", "more")
    await writer.write(b"x")
    with pytest.raises(StorageUnavailable):
        await writer.commit()
    await writer.abort()
    assert await missing(cache, "more")
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_failing_disk_is_named(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """A directory that cannot be used fails with the storage's error, not with the system's."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageUnavailable):
        await make().start()


@pytest_twisted.ensureDeferred
async def test_a_full_disk_is_no_failing_one(make: Callable[..., DiskCache]) -> None:
    """What doesn't fit is refused as such, so that nobody takes the cache for broken and stops reading it."""
    cache = make()
    with pytest.raises(StorageFull):
        await cache._in_thread(Path("/dev/full").write_bytes, b"x")


@pytest_twisted.ensureDeferred
async def test_nothing_goes_for_what_does_not_fit_all_the_same(make: Callable[..., DiskCache]) -> None:
    """When others fill the disk, an upload is refused and what is stored stays, whether its size is known or not."""
    left = [10_000_000]
    cache = make(limit=1_000_000, min_free=100_000, free=lambda directory: left[0])
    await cache.start()
    for number in range(5):
        await store(cache, f"key {number}", bytes(10_000))
    left[0] = 10_000
    with pytest.raises(StorageFull):
        await store(cache, "unknown", bytes(30_000))
    with pytest.raises(StorageFull):
        await cache.create("namespace", "known", size=30_000)
    assert (await cache.stats()).objects == 5
    left[0] = 70_000  # now three of them make the room
    await store(cache, "fits", bytes(10_000))
    assert not await missing(cache, "fits") and not await missing(cache, "key 4")
    assert 1 <= (await cache.stats()).objects < 5
    with pytest.raises(TooLarge):
        await cache.create("namespace", "larger than all", size=2_000_000)
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_reading_goes_on_when_the_index_can_not_be_written(make: Callable[..., DiskCache]) -> None:
    """That the disk is too full to write down what is used keeps nobody from reading it."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    database = cache._store.files.index._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute("PRAGMA query_only = 1")
    database.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(600):
        assert not await missing(cache, "key")
    database.execute("PRAGMA query_only = 0")
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_full_index_lets_nothing_become_visible(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """An object that the index has no room for is neither visible nor on the disk; the others stay, and counted."""
    cache = make()
    await cache.start()
    database = cache._store.files.index._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    stored = 0
    with pytest.raises(StorageFull):
        for number in range(1000):
            await store(cache, f"key {number}", b"data")
            stored += 1
    assert await missing(cache, f"key {stored}")
    assert len(files(tmp_path)) == stored == (await cache.stats()).objects
    database.execute("PRAGMA max_page_count = 1000000")
    await store(cache, f"key {stored}", b"data")
    assert (await cache.stats()).objects == stored + 1
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_an_index_that_is_damaged_meanwhile_is_made_anew(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """When the index is damaged under a running server one request fails, and none of what is stored is lost."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    cache._store.files.index._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(tmp_path / "cache" / "index.sqlite", "rubbish")
    cache._store.files.index._db.execute("PRAGMA shrink_memory")
    with pytest.raises(StorageUnavailable):
        await cache.stats()
    assert await fetch(cache, "key") == b"data"
    await store(cache, "other", b"data")
    assert (await cache.stats()).objects == 2
    await cache.stop()


def break_descriptors(directory: Path, name: str) -> None:
    """Make every read and write of open files fail, those of a name and of what lies beside them under longer ones."""
    reading, writing = os.pipe()
    for link in Path("/proc/self/fd").iterdir():
        if os.path.realpath(link).startswith(str(directory / name)):
            os.dup2(reading, int(link.name))
    os.close(reading)
    os.close(writing)


@pytest_twisted.ensureDeferred
async def test_an_index_that_cannot_be_read_any_more_is_opened_again(
    make: Callable[..., DiskCache], tmp_path: Path
) -> None:
    """As after its file server was away: the descriptor fails for ever, and the file is sound."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    break_descriptors(tmp_path / "cache", "index.sqlite")
    with pytest.raises(StorageUnavailable):
        await store(cache, "other", b"data")
    await store(cache, "other", b"data")
    assert (await cache.stats()).objects == 2
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_put_in_its_place_is_not_counted(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """When a finished file can't be renamed nothing is visible and nothing is counted."""
    cache = make()
    await cache.start()
    in_the_way = tmp_path / "cache" / "objects"
    in_the_way.rmdir()
    in_the_way.write_text("a file")
    with pytest.raises(StorageUnavailable):
        await store(cache, "key", b"data")
    assert (await cache.stats()).objects == 0
    in_the_way.unlink()
    await store(cache, "key", b"data")
    assert (await cache.stats()).objects == 1
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("what", ["read", "look", "delete", "store", "sweep"])
@pytest.mark.parametrize("link", [False, True], ids=["directory", "link"])
async def test_a_directory_in_an_object_s_place_is_a_miss(
    make: Callable[..., DiskCache], tmp_path: Path, clock: FakeClock, what: str, link: bool
) -> None:
    """It is moved out of the way once, told once, counts for nothing, and stops neither readers nor writers."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    await store(cache, "other", b"data")
    path = tmp_path / "cache" / "objects" / "ns" / object_key("key")[:2] / object_key("key")
    path.unlink()
    (directory := tmp_path / "precious" if link else path).mkdir()
    (directory / "file").write_text("content")
    if link:
        path.symlink_to(directory)
    doing = {
        "read": lambda: cache.open("ns", "key"),
        "look": lambda: cache.stat("ns", "key"),
        "delete": lambda: cache.delete("ns", "key"),
        "store": lambda: store(cache, "key", b"new"),
        "sweep": cache.sweep,
    }
    if what == "sweep":
        clock.advance(MAX_TTL)
    with listening() as log:
        for _ in range(2):
            assert bool(await doing[what]()) == (what == "store")
            assert (await cache.stats()).objects == {"store": 2, "sweep": 0}.get(what, 1)
    assert log.count("in a cached object's place") == 1
    await store(cache, "key", b"new")
    assert await fetch(cache, "key") == b"new"
    await cache.stop()
    await cache.start()
    assert list((tmp_path / "cache" / "partial").iterdir()) == []
    assert not link or (directory / "file").read_text() == "content"
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_vanished_file_takes_no_room(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """A file that somebody removed counts no more once its room is asked for or it is deleted."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    await store(cache, "other", b"data")
    for path in files(tmp_path):
        path.unlink()
    cache._store.files.remove("ns", object_key("key"))
    assert (await cache.stats()).objects == 1
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_sweep_keeps_the_bounds(make: Callable[..., DiskCache], clock: FakeClock) -> None:
    """A limit that was lowered, or a file system that others fill, is heeded though nobody writes."""
    left = [100_000]
    cache = make(min_free=50_000, free=lambda directory: left[0])
    await cache.start()
    await store(cache, "old", b"x" * 20_000)
    clock.advance(1)
    await store(cache, "new", b"x" * 10_000)
    left[0] = 45_000
    await cache.sweep()
    assert (await missing(cache, "old"), await missing(cache, "new")) == (True, False)
    left[0] = 0
    await cache.sweep()
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_content_is_private(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """Nobody else on the machine may read the objects."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    assert files(tmp_path)[0].stat().st_mode & 0o077 == 0
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_beginning_a_file_waits_for_no_disk(make: Callable[..., DiskCache]) -> None:
    """While a thread holds the index, as a slow disk makes it, an object is begun without waiting."""
    cache = make()
    await cache.start()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with cache._store.files.lock:
            held.set()
            go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    writer = await cache.create("git", "key")
    go.set()
    thread.join()
    await writer.abort()
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_directory_in_the_place_of_the_index(make: Callable[..., DiskCache], tmp_path: Path) -> None:
    """It is moved aside with a line in the log, and the index is made anew out of the files."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    await cache.stop()
    index = tmp_path / "cache" / "index.sqlite"
    index.unlink()
    (index / "inside").mkdir(parents=True)
    with listening() as log:
        await cache.start()
        assert log.count("a directory lay in the place of") == 1
    assert not await missing(cache, "key") and index.is_file()
    assert [path.name for path in (tmp_path / "cache").glob("index.sqlite.was-*/*")] == ["inside"]
    await cache.stop()


@pytest.mark.parametrize("all_of_it", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_cache_that_is_removed_under_the_server_counts_anew(
    all_of_it: bool, make: Callable[..., DiskCache], tmp_path: Path
) -> None:
    """What is gone takes no room any more after the next sweep, what is left is still there, and storing goes on."""
    cache = make()
    await cache.start()
    await store(cache, "key", b"data")
    if all_of_it:
        shutil.rmtree(tmp_path / "cache")
    else:
        (tmp_path / "cache" / "index.sqlite").unlink()
    await cache.sweep()
    assert (await cache.stats()).objects == (0 if all_of_it else 1)
    assert await missing(cache, "key") is all_of_it
    await store(cache, "other", b"more")
    assert not await missing(cache, "other")
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_adopts_a_spool(make: Callable[..., DiskCache], tmp_path: Path, elsewhere: bool) -> None:
    """A spool becomes the object's file, for those who hold it too; one on another file system is copied."""
    memory = Path(tempfile.mkdtemp(dir="/dev/shm" if elsewhere else tmp_path))
    spool = memory / "spool"
    spool.write_bytes(LARGE)
    inode = spool.stat().st_ino
    cache = make()
    await cache.start()
    writer = await cache.create("ns", "key", spool=spool)
    await writer.write(LARGE[:1000])
    await writer.write(LARGE[1000:])
    assert list((tmp_path / "cache" / "partial").iterdir()) == []
    with spool.open("rb") as held:
        info = await writer.commit()
        assert held.read(len(LARGE)) == LARGE
    assert info.digest == sha256(LARGE) and await fetch(cache, "key") == LARGE
    (file,) = files(tmp_path)
    assert elsewhere or (file.stat().st_ino == inode and not spool.exists())
    shutil.rmtree(memory)
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fate", ["gone", "shorter", "longer", "aborted"])
async def test_a_spool_that_is_not_what_was_told(make: Callable[..., DiskCache], tmp_path: Path, fate: str) -> None:
    """It is not stored, nothing is left of it, and one that was given up is the caller's still."""
    spool = tmp_path / "spool"
    spool.write_bytes({"shorter": LARGE[:-1], "longer": LARGE + b"x"}.get(fate, LARGE))
    cache = make()
    await cache.start()
    writer = await cache.create("ns", "key", spool=spool)
    await writer.write(LARGE)
    if fate == "gone":
        spool.unlink()
    if fate != "aborted":
        with pytest.raises((StorageUnavailable, CorruptObject)):
            await writer.commit()
    await writer.abort()
    assert await missing(cache, "key") and files(tmp_path) == []
    assert list((tmp_path / "cache" / "partial").iterdir()) == []
    assert spool.exists() == (fate == "aborted")
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_one_of_two_tiers_adopts_a_spool(clock: FakeClock, threads: Threads, tmp_path: Path) -> None:
    """The nearest does, and the other one writes its own file."""
    near, far = (disk_cache(tmp_path / name, clock=clock, threads=threads, limit=LIMIT) for name in ("near", "far"))
    tiered = TieredCache(tiers=numbered([near, far]), reactor=clock, clock=clock)
    await tiered.start()
    spool = tmp_path / "spool"
    spool.write_bytes(LARGE)
    writer = await tiered.create("ns", "key", spool=spool)
    await writer.write(LARGE)
    await writer.commit()
    assert await fetch(near, "key") == LARGE and await fetch(far, "key") == LARGE
    assert not spool.exists()
    await tiered.stop()
