"""A disk cache's files and its index are kept in step, whatever happens to either."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachew.cache.diskstore import DiskStore
from cachew.cache.interface import object_key
from cachew.cache.objectrecord import WriteTerms
from tests.cleanliness import FlushLoggedErrors

NOW = 1_700_000_000.0
KEY = object_key("key")


class World:
    """A disk cache's store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = DiskStore(directory=directory, limit=None)
        self.files = self.store.files
        self.files.open()

    def put(self, content: bytes = b"content", *, key: str = "key", ttl: float | None = None, now: float = NOW) -> Path:
        """Store an object and return its file."""
        draft = self.store.drafts.begin()
        self.store.append(draft, content)
        self.store.publish(draft, WriteTerms.checked("ns", key, max_ttl=None, ttl=ttl), now)
        return self.files.path_of("ns", object_key(key))

    def has(self, key: str = "key", now: float = NOW) -> bool:
        """Say whether an object is found."""
        found = self.files.find("ns", object_key(key), now)
        if found is not None:
            found.file.close()
        return found is not None

    @property
    def names(self) -> list[tuple[str, str]]:
        """What the index knows."""
        return self.files.names()

    def restart(self) -> None:
        """Open it again, as after the end of the process."""
        self.store.close()
        self.store = DiskStore(directory=self.directory, limit=None)
        self.files = self.store.files
        self.files.open()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def test_what_has_expired_goes_when_it_is_looked_for(world: World) -> None:
    """Not a moment before, and with its file."""
    path = world.put(ttl=60)
    assert world.has(now=NOW + 59)
    assert not world.has(now=NOW + 60)
    assert not path.exists()
    assert world.names == []


def test_a_clock_that_was_put_back_expires_nothing(world: World) -> None:
    """It lives longer by as much."""
    world.put(ttl=60)
    assert world.has(now=NOW - 86400)


@pytest.mark.parametrize("damage", ["cut", "empty", "swapped", "unreadable"])
def test_a_damaged_file_is_removed(world: World, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is as good as absent; nothing stays open of it."""
    path, other = world.put(), world.put(b"other", key="other")
    if damage == "swapped":
        path.write_bytes(other.read_bytes())
    elif damage != "unreadable":
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -1])
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as disk:
        if damage == "unreadable":
            disk.setattr(os, "pread", lost)
        assert not world.has()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not path.exists()
    assert world.names == [("ns", object_key("other"))]
    assert world.has("other")


def lost(*_: int) -> bytes:
    """Fail as a disk that has lost a sector."""
    raise OSError(errno.EIO, "Input/output error")


def test_a_file_that_the_disk_has_lost_keeps_no_cache_from_its_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed like any other damaged one."""
    path = world.put()
    world.store.close()
    (world.directory / "index.sqlite").unlink()
    with monkeypatch.context() as disk:
        disk.setattr(os, "pread", lost)
        world.restart()
    assert not path.exists()
    assert world.names == []


def test_a_lost_index_is_made_of_the_files(world: World) -> None:
    """Whose age counts as their last use."""
    world.put()
    world.put(b"other", key="other")
    world.store.close()
    (world.directory / "index.sqlite").unlink()
    world.restart()
    assert len(world.names) == 2
    assert world.has() and world.has("other")


def test_what_was_removed_behind_the_index_is_forgotten(world: World) -> None:
    """And what was put there is adopted, where it lies in its own place."""
    path = world.put()
    world.put(b"other", key="other")
    content = path.read_bytes()
    path.unlink()
    stray = world.files.path_of("ns", object_key("stray"))
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(content)
    world.restart()
    assert world.names == [("ns", object_key("other"))]
    assert not stray.exists()
    path.write_bytes(content)
    world.restart()
    assert len(world.names) == 2
    assert world.has()


def test_what_was_unfinished_goes_with_the_next_start(world: World) -> None:
    """Files and directories alike."""
    draft = world.store.drafts.begin()
    world.store.append(draft, b"half")
    (world.directory / "partial/directory").mkdir()
    world.restart()
    assert list((world.directory / "partial").iterdir()) == []
    assert world.store.drafts.size == 0


def test_a_file_is_removed_only_while_it_is_the_one_that_was_meant(world: World) -> None:
    """Whoever found an old one damaged takes no new one away."""
    path = world.put()
    found = world.files.find("ns", KEY, NOW)
    assert found is not None
    found.file.close()
    world.put(b"newer")
    assert not world.files.remove("ns", KEY, found.stamp)
    assert path.exists()
    assert world.files.remove("ns", KEY)
    assert not world.files.remove("ns", KEY)


def test_a_directory_in_an_object_s_place_goes_out_of_the_way(
    world: World, flush_logged_errors: FlushLoggedErrors
) -> None:
    """With all that is in it; the next start removes it."""
    path = world.put()
    path.unlink()
    (path / "inner").mkdir(parents=True)
    assert not world.has()
    assert world.names == []
    world.put()
    assert world.has()
    world.restart()
    assert list((world.directory / "partial").iterdir()) == []


def _a_file_for_a_directory(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("in the way")


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("nowhere"),
        _a_file_for_a_directory,
    ],
    ids=["pipe", "loop", "link", "dangling link", "no directory"],
)
def test_what_is_no_file_in_an_object_s_place_holds_nobody(
    world: World, flush_logged_errors: FlushLoggedErrors, put: Callable[[Path], None]
) -> None:
    """Nobody waits for a pipe's other end, no link is followed, and the object is stored there again."""
    path = world.put()
    path.unlink()
    put(path)
    assert not world.has()
    world.put()
    assert world.has() and world.names == [("ns", KEY)]
    path.unlink()
    put(path)
    world.restart()
    assert not world.has()
    flush_logged_errors()


def test_a_file_that_may_not_be_read_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch, flush_logged_errors: FlushLoggedErrors
) -> None:
    """Another user's, say, put there by whoever restored a backup."""
    path, other = world.put(), world.put(b"other", key="other")
    theirs = forbidden(path)
    with monkeypatch.context() as system:
        system.setattr(os, "open", theirs)
        assert not world.has() and world.has("other")
        world.put()
    assert world.has() and other.exists()
    flush_logged_errors()


def test_a_file_that_may_not_be_read_keeps_no_cache_from_its_start(
    world: World, monkeypatch: pytest.MonkeyPatch, flush_logged_errors: FlushLoggedErrors
) -> None:
    """It is left alone and counts for nothing; the others are there."""
    path = world.put()
    world.put(b"other", key="other")
    world.store.close()
    (world.directory / "index.sqlite").unlink()
    with monkeypatch.context() as system:
        system.setattr(os, "open", forbidden(path))
        world.restart()
    assert world.names == [("ns", object_key("other"))] and path.exists()
    flush_logged_errors()


def forbidden(path: Path) -> Callable[..., int]:
    """Return ``os.open`` of a process that may not read a file."""
    real, inode = os.open, path.stat().st_ino

    def opening(file: Any, flags: int, *more: Any, **named: Any) -> int:
        if os.path.lexists(file) and os.stat(file).st_ino == inode:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(file, flags, *more, **named)

    return opening


def test_a_full_disk_without_an_index_is_given_room_for_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written longest ago goes for it: without an index nothing would go for anything, ever."""
    paths = [world.put(bytes(3 * 1024 * 1024), key=key) for key in ("oldest", "older", "newest")]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (NOW - age, NOW - age))
    world.store.close()
    (world.directory / "index.sqlite").unlink()
    real = sqlite3.connect

    def connect(*args: Any, **settings: Any) -> sqlite3.Connection:
        if sum(path.exists() for path in paths) > 1:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        connection: sqlite3.Connection = real(*args, **settings)
        return connection

    with monkeypatch.context() as disk:
        disk.setattr(sqlite3, "connect", connect)
        world.restart()
    assert world.names == [("ns", object_key("newest"))]


def test_an_index_that_somebody_has_removed_is_made_anew(world: World, flush_logged_errors: FlushLoggedErrors) -> None:
    """It knows what there is; nothing happens while it is there."""
    path = world.put()
    world.put(b"other", key="other")
    world.files.look()
    assert len(world.names) == 2
    (world.directory / "index.sqlite").unlink()
    path.unlink()
    world.files.look()
    assert world.names == [("ns", object_key("other"))]


def test_a_draft_that_was_given_up_meanwhile_replaces_nothing(world: World) -> None:
    """What is there stays known."""
    world.put(b"old")
    draft = world.store.drafts.begin()
    world.store.append(draft, b"new")
    terms = WriteTerms.checked("ns", "key", max_ttl=None)
    draft.seal(terms, NOW)
    world.store.drafts.discard(draft)
    with pytest.raises(RuntimeError):
        world.store.publish(draft, terms, NOW)
    assert world.names == [("ns", KEY)]
    assert world.has()
