"""Mirrors out of mirror snapshots."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import pytest_twisted
import zstandard

from cachew.cache.memory import MemoryCache
from cachew.mirrors.commands import GitCommands
from cachew.plumbing.errors import NotFound, ProcessFailed
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.snapshots.seed import MirrorCheck, MirrorMaker, Seeder
from cachew.snapshots.variants import MIRROR, NAMESPACE, Variant
from tests.fakes.clock import FakeClock
from tests.snapshots.repositories import INSTANCE, BareMirror, Output, bare, commit, git

KEY = f"mirror:{INSTANCE.name}"


@pytest.fixture
def cache() -> MemoryCache:
    """Return an empty cache."""
    return MemoryCache(limit=10_000_000, clock=FakeClock())


@pytest.fixture
def check(processes: Processes, commands: GitCommands) -> MirrorCheck:
    """Return a check that runs real git."""
    return MirrorCheck(processes=processes, commands=commands)


@pytest.fixture
def metrics() -> Metrics:
    """Return fresh metrics."""
    return Metrics()


@pytest.fixture
def seeder(cache: MemoryCache, check: MirrorCheck, threads: Threads, metrics: Metrics) -> Seeder:
    """Return a seeder."""
    return Seeder(cache=cache, check=check, threads=threads, metrics=metrics)


async def make(
    check: MirrorCheck, threads: Threads, mirror: BareMirror, place: Path
) -> tuple[bytes, Mapping[str, str]]:
    """Make a mirror snapshot."""
    output, announced = Output(), dict[str, str]()

    async def begin(headers: Mapping[str, str]) -> Output:
        announced.update(headers)
        return output

    await MirrorMaker(check=check, threads=threads)(mirror.whole, Variant(MIRROR), place, begin)
    return bytes(output.data), announced


async def keep(cache: MemoryCache, data: bytes, headers: Mapping[str, str]) -> None:
    """Store a mirror snapshot."""
    writer = await cache.create(NAMESPACE, KEY, headers=headers)
    await writer.write(data)
    await writer.commit()


def outcomes(metrics: Metrics) -> dict[str, float]:
    """Return what was counted, and not only announced as 0."""
    samples = [sample for family in metrics.mirror_seeds.collect() for sample in family.samples]
    return {
        sample.labels["outcome"]: sample.value for sample in samples if sample.name.endswith("_total") and sample.value
    }


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest_twisted.ensureDeferred
async def test_a_mirror_comes_back_as_it_was(
    object_format: str,
    check: MirrorCheck,
    threads: Threads,
    cache: MemoryCache,
    seeder: Seeder,
    metrics: Metrics,
    tmp_path: Path,
) -> None:
    """All refs, those that cachew keeps for itself too, all objects and HEAD; configuration and hooks stay behind."""
    git(tmp_path, "init", "-q", "-b", "trunk", f"--object-format={object_format}", "origin")
    commit(tmp_path / "origin", {"a": "b"})
    mirror = bare(tmp_path / "origin", tmp_path / "origin.git", object_format=object_format)
    git(mirror.directory, "config", "http.extraHeader", "Authorization: secret")
    data, headers = await make(check, threads, mirror, tmp_path)
    await keep(cache, data, headers)
    assert await seeder.restore(INSTANCE, tmp_path / "new" / "restored.git")
    restored = tmp_path / "new" / "restored.git"
    assert git(restored, "for-each-ref") == git(mirror.directory, "for-each-ref")
    assert git(restored, "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert "secret" not in (restored / "config").read_text()
    assert sorted(path.name for path in restored.iterdir()) == ["HEAD", "config", "objects", "packed-refs", "refs"]
    assert outcomes(metrics) == {"restored": 1.0}


@pytest_twisted.ensureDeferred
async def test_without_a_snapshot_nothing_is_restored(seeder: Seeder, tmp_path: Path) -> None:
    """The caller clones."""
    assert not await seeder.restore(INSTANCE, tmp_path / "restored.git")
    assert not (tmp_path / "restored.git").exists()


@pytest_twisted.ensureDeferred
async def test_a_mirror_that_is_not_whole_is_never_stored(
    check: MirrorCheck, threads: Threads, mirror: BareMirror, tmp_path: Path
) -> None:
    """A damaged pack is noticed before the first byte."""
    pack = next((mirror.directory / "objects/pack").glob("*.pack"))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises(ProcessFailed):
        await make(check, threads, mirror, tmp_path)


@pytest_twisted.ensureDeferred
async def test_a_mirror_without_refs_has_no_snapshot(check: MirrorCheck, threads: Threads, tmp_path: Path) -> None:
    """There is nothing to begin from."""
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    with pytest.raises(NotFound):
        await make(check, threads, BareMirror(tmp_path / "empty.git"), tmp_path)


def archive(*members: tarfile.TarInfo) -> bytes:
    """Make a hostile archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return zstandard.ZstdCompressor().compress(stream.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Make a member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "data",
    [
        b"not zstd",
        b"",
        archive(),
        archive(member("./config")),
        archive(member("./hooks/post-checkout")),
        archive(member("../outside")),
        archive(member("/tmp/outside")),
        archive(member("./objects/info/alternates")),
        archive(member("./objects/pack/../../config")),
        archive(member("./objects/pack", tarfile.SYMTYPE, "/tmp")),
        archive(member("./HEAD", tarfile.SYMTYPE, "/etc/passwd")),
        archive(member("./HEAD", tarfile.LNKTYPE, "./archive")),
        archive(member("./HEAD"), member("./HEAD")),
        archive(member("./HEAD"))[:-5],
        archive(member("./objects/info/commit-graphs"), member("./objects/info/commit-graphs/x")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_does_not_verify_is_thrown_away(
    data: bytes, cache: MemoryCache, seeder: Seeder, metrics: Metrics, tmp_path: Path
) -> None:
    """A hostile or broken archive leaves no directory, is removed from the cache, and is counted."""
    await keep(cache, data, {})
    assert not await seeder.restore(INSTANCE, tmp_path / "place" / "restored.git")
    assert list((tmp_path / "place").iterdir()) == []
    assert await cache.stat(NAMESPACE, KEY) is None
    assert outcomes(metrics) == {"discarded": 1.0}


@pytest_twisted.ensureDeferred
async def test_a_snapshot_that_lacks_objects_is_thrown_away(
    check: MirrorCheck, threads: Threads, mirror: BareMirror, cache: MemoryCache, seeder: Seeder, tmp_path: Path
) -> None:
    """What the refs reach must be there."""
    data, headers = await make(check, threads, mirror, tmp_path)
    whole = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    stream = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(whole)) as full, tarfile.open(fileobj=stream, mode="w") as cut:
        for one in full:
            if not one.name.endswith((".pack", ".idx", ".rev")):
                cut.addfile(one, full.extractfile(one))
    await keep(cache, zstandard.ZstdCompressor().compress(stream.getvalue()), headers)
    assert not await seeder.restore(INSTANCE, tmp_path / "restored.git")


@pytest_twisted.ensureDeferred
async def test_a_slow_check_throws_nothing_away(
    processes: Processes,
    commands: GitCommands,
    check: MirrorCheck,
    threads: Threads,
    mirror: BareMirror,
    cache: MemoryCache,
    metrics: Metrics,
    tmp_path: Path,
) -> None:
    """What failed on this machine may serve another, so the snapshot stays."""
    data, headers = await make(check, threads, mirror, tmp_path)
    await keep(cache, data, headers)
    hasty = MirrorCheck(processes=processes, commands=commands, timeout=0)
    seeder = Seeder(cache=cache, check=hasty, threads=threads, metrics=metrics)
    assert not await seeder.restore(INSTANCE, tmp_path / "restored.git")
    assert not (tmp_path / "restored.git").exists()
    assert await cache.stat(NAMESPACE, KEY) is not None
    assert outcomes(metrics) == {"failed": 1.0}


@pytest_twisted.ensureDeferred
async def test_a_shallow_mirror_verifies_and_comes_back_shallow(
    check: MirrorCheck, threads: Threads, cache: MemoryCache, seeder: Seeder, work: Path, tmp_path: Path
) -> None:
    """Where its history ends is part of a mirror snapshot."""
    for number in range(5):
        commit(work, {"README": f"{number}\n"})
    git(tmp_path, "clone", "-q", "--bare", "--depth=3", "--template=", f"file://{work}", "shallow.git")
    mirror = BareMirror(tmp_path / "shallow.git")
    await keep(cache, *await make(check, threads, mirror, tmp_path))
    assert await seeder.restore(INSTANCE, tmp_path / "restored.git")
    assert git(tmp_path / "restored.git", "rev-list", "--count", "main") == "3"
    assert (tmp_path / "restored.git/shallow").read_bytes() == (mirror.directory / "shallow").read_bytes()
