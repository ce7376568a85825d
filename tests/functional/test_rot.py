"""Files that change under a server, while it runs and while it is down: nobody gets a wrong byte, all heals itself."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

from cachew.mirrors.collection import scrub
from cachew.mirrors.mirror import Mirror
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository
from tests.functional.restoring import cachew_command
from tests.functional.server import UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream

reactor: Any = installed
CONFIG = f'{UNSCHEDULED}ref-check-interval = "0s"\n'
URL = "https://git.example/org/repo"
HEALED_WITHIN = 30.0
"""Seconds from the first request that meets with damage until the mirror is whole again."""


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository, whose mirror has a pack with a bitmap and an index in a map."""
    return repositories.make_repository(upstream.path("org/repo"), commits=30, files=20, size=20_000, tags=("v1",))


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file and put its time of modification back."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        (byte,) = file.read(1)
        file.seek(before.st_size // 2)
        file.write(bytes([byte ^ 8]))
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoil(mirror: Path, what: str) -> None:
    """Do to a mirror what a disk, a crash or a hand may do."""
    if what == "no objects":
        (mirror / "objects").rename(mirror.parents[2] / f"gone {time.monotonic_ns()}")
    elif what == "empty ref":
        (mirror / "refs/heads/empty").write_bytes(b"")
    elif what.startswith("garbage in "):
        with (mirror / what.removeprefix("garbage in ")).open("ab") as file:
            file.write(b"\0[garbage\n")
    elif what.startswith("directory for "):
        (path,) = mirror.glob(what.removeprefix("directory for "))
        path.unlink()
        (path / "inside").mkdir(parents=True)
    else:
        flip(max(mirror.glob(what), key=lambda path: path.stat().st_size))


FILES = ("objects/pack/*.pack", "objects/pack/pack-*.idx", "objects/pack/*.bitmap", "objects/pack/multi-pack-index",
         "objects/info/commit-graphs/*.graph", "directory for objects/pack/multi-pack-index-*.bitmap")  # fmt: skip
FORMS = ("garbage in config", "garbage in HEAD", "garbage in packed-refs", "directory for packed-refs", "empty ref",
         "no objects")  # fmt: skip


async def clones(git: Git, repository: Repository, name: str) -> None:
    """Check that a clone is whole and of now."""
    await git.run("clone", "-q", URL, name)
    await git.run("-C", name, "fsck", "--strict")
    assert (await git.run("-C", name, "rev-parse", "HEAD")).out == repository.commit()


async def heals_unattended(cachew: Cachew, repository: Repository, since: float) -> None:
    """Check that the mirror is whole again by itself, at most 30 s after the first request that met the damage.

    :param since: when that was sent, by the reactor's clock.
    """
    quiet = Deferred.fromCoroutine(cachew.quiet())
    await quiet.addTimeout(max(0.0, since + HEALED_WITHIN - reactor.seconds()), reactor)
    mirror = cachew.parts.mirrors.collection.ready(cachew.identity("org/repo"))
    assert mirror is not None and mirror.verification.intact() and mirror.refs.by_name == repository.refs()
    Repository(mirror.directory).git("fsck", "--strict")


async def is_whole(cachew: Cachew, git: Git, repository: Repository) -> None:
    """Check that the mirror is sound, has what the upstream has, and serves by itself."""
    await cachew.quiet()
    await cachew.parts.mirrors.staleness.refresh(cachew.identity("org/repo"))
    mirror = cachew.parts.mirrors.collection.ready(cachew.identity("org/repo"))
    assert mirror is not None and mirror.verification.intact() and mirror.refs.by_name == repository.refs()
    Repository(mirror.directory).git("fsck", "--strict")
    assert await mirror.verification.proven()


async def start_mirrored(start: Start, git: Git) -> tuple[Cachew, Mirror]:
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.quiet()
    return cachew, mirror


@pytest.mark.parametrize("kinds", [FILES, FORMS], ids=["files", "forms"])
@pytest_twisted.ensureDeferred
async def test_a_mirror_that_rots_while_the_server_runs(
    upstream: Upstream, repository: Repository, git: Git, start: Start, kinds: tuple[str, ...], flush_logged_errors: Any
) -> None:
    """Whatever is damaged: every clone is whole, the mirror is whole again, and the log and the metrics say so."""
    cachew, mirror = await start_mirrored(start, git)
    for number, what in enumerate(kinds, 1):
        spoil(mirror.directory, what)
        since = reactor.seconds()
        await clones(git, repository, f"before {what}".replace("/", " "))
        if what in FILES:  # the others may keep no clone from being served
            await heals_unattended(cachew, repository, since)
        repositories.push_commit(repository)
        await clones(git, repository, f"after {what}".replace("/", " "))
        await is_whole(cachew, git, repository)
        assert b'cachew_damage_total{what="mirror"} %d.0' % number in await cachew.metrics(), what
        await mirror.maintenance.repack()
    flush_logged_errors()


@pytest.mark.parametrize("what", [FILES[0], FILES[1], "garbage in packed-refs"])
@pytest_twisted.ensureDeferred
async def test_a_mirror_that_rots_while_the_server_is_down(
    upstream: Upstream, repository: Repository, git: Git, start: Start, what: str, flush_logged_errors: Any
) -> None:
    """A server that starts with a damaged mirror serves nothing of it, and has a whole one soon."""
    cachew, mirror = await start_mirrored(start, git)
    git.config.pop(f"url.{cachew.instead_of[1]}.insteadOf")
    await cachew.stop()
    spoil(mirror.directory, what)
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    since = reactor.seconds()
    await clones(git, repository, "first")
    await heals_unattended(cachew, repository, since)
    passed = cachew.served().get("upstream", 0)
    await clones(git, repository, "second")
    assert cachew.served().get("upstream", 0) == passed, "the mirror serves again"
    await is_whole(cachew, git, repository)
    flush_logged_errors()


SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"


async def damaged_files(cachew: Cachew, pattern: str) -> list[Path]:
    """Flip a bit in files of the state directory, one at least."""
    await cachew.quiet()
    found = [path for path in cachew.state.glob(pattern) if path.is_file()]
    assert found
    for path in found:
        flip(path)
    return found


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
@pytest_twisted.ensureDeferred
async def test_a_cached_snapshot_that_rots_is_made_anew_while_the_client_waits(
    upstream: Upstream, repository: Repository, git: Git, start: Start, down: bool, flush_logged_errors: Any
) -> None:
    """Neither a wrong byte nor an error: snapshots, ranges and bundles are whole though what is cached is damaged."""
    cachew, _ = await start_mirrored(start, git)
    base = repository.commit()
    assert (await ask(reactor, cachew.url, "GET", SNAPSHOT)).status == 200
    repositories.push_commit(repository)
    bundle = f"/git/git.example/org/repo/snapshot.bundle?base={base}"
    before = await ask(reactor, cachew.url, "GET", bundle)
    assert before.status == 200
    await damaged_files(cachew, "cache/objects/**/*")
    if down:
        await cachew.stop()
        cachew = await start(CONFIG)
    part = await ask(reactor, cachew.url, "GET", SNAPSHOT, "Range: bytes=200000-")
    assert part.status in (200, 206)
    assert (await ask(reactor, cachew.url, "GET", bundle)).body == before.body
    await cachew_command(reactor, git, "--url", cachew.url, "git", "restore", URL, "restored")
    await git.run("-C", "restored", "fsck", "--strict")
    assert b'cachew_damage_total{what="object"} 2.0' in await cachew.metrics()
    flush_logged_errors()


@pytest_twisted.ensureDeferred
async def test_no_artefact_is_made_of_a_mirror_that_rots(
    upstream: Upstream, repository: Repository, git: Git, start: Start, flush_logged_errors: Any
) -> None:
    """A snapshot that is asked for while the mirror is damaged is whole."""
    cachew, mirror = await start_mirrored(start, git)
    for number, what in enumerate((FILES[0], FILES[1], "garbage in config", "no objects")):
        spoil(mirror.directory, what)
        for path in cachew.state.glob("cache/objects/git/**/*"):
            path.unlink() if path.is_file() else None
        name = f"restored{number}"
        await cachew_command(reactor, git, "--url", cachew.url, "git", "restore", URL, name)
        await git.run("-C", name, "fsck", "--strict")
        assert (await git.run("-C", name, "rev-parse", "HEAD")).out == repository.commit()
        await is_whole(cachew, git, repository)
    flush_logged_errors()


@pytest_twisted.ensureDeferred
async def test_a_snapshot_makes_its_mirror_not_suspect(
    upstream: Upstream, repository: Repository, git: Git, start: Start
) -> None:
    """The links that a snapshot is made of come and go without the mirror being read again."""
    cachew, mirror = await start_mirrored(start, git)
    for query in ("", "?filter=blob:none"):
        assert (await ask(reactor, cachew.url, "GET", SNAPSHOT + query)).status == 200
        await cachew.quiet()
        assert mirror.verification.intact() and mirror.place.repository.ledger.unverified() == []
    assert cachew.served().get("upstream", 0) == 0


@pytest_twisted.ensureDeferred
async def test_a_scrub_finds_what_nobody_asks_for(
    upstream: Upstream, repository: Repository, git: Git, start: Start, flush_logged_errors: Any
) -> None:
    """Mirrors, kept packs and cached objects are read by and by; what is damaged is made anew or removed."""
    cachew, _ = await start_mirrored(start, git)
    await clones(git, repository, "first")
    assert (await ask(reactor, cachew.url, "GET", SNAPSHOT)).status == 200
    for pattern in ("mirrors/git.example/*/objects/pack/*.pack", "packs/*.pack", "cache/objects/**/*"):
        await damaged_files(cachew, pattern)

    async def pace(size: int) -> None:
        pass

    await scrub(cachew.parts.mirrors.collection, pace)
    await cachew.parts.store.pack_cache.kept.scrub(pace)
    await cachew.parts.store.cache.scrub(pace)
    await is_whole(cachew, git, repository)
    metrics = await cachew.metrics()
    for what in (b"mirror", b"pack", b"object"):
        assert b'cachew_damage_total{what="%s"} 1.0' % what in metrics
    flush_logged_errors()


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
@pytest_twisted.ensureDeferred
async def test_a_kept_pack_that_rots_is_not_sent(
    upstream: Upstream, repository: Repository, git: Git, start: Start, down: bool
) -> None:
    """A pack that was kept and is damaged since is computed again; no client gets it."""
    cachew, _ = await start_mirrored(start, git)
    await clones(git, repository, "first")
    await damaged_files(cachew, "packs/*.pack")
    if down:
        git.config.pop(f"url.{cachew.instead_of[1]}.insteadOf")
        await cachew.stop()
        cachew = await start(CONFIG)
        git.instead_of(*cachew.instead_of)
    await clones(git, repository, "second")
    assert cachew.served()["mirror"] >= 1 and b'cachew_damage_total{what="pack"} 1.0' in await cachew.metrics()
