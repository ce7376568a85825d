"""One object in one file: written whole or not at all, and read only as it was written."""

import errno
import io
import os
import threading
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from cachew.cache.blocks import BLOCK
from cachew.cache.diskfile import CheckedRegion, Draft, read_record, read_region, stamp_of
from cachew.cache.objectrecord import ObjectRecord, WriteTerms
from cachew.plumbing.errors import CorruptObject
from tests.contracts.cache import sha256
from tests.fakes.systemlimits import largest_file

NOW = 1_700_000_000.0
CONTENT = b"some content" * 1000
TERMS = WriteTerms.checked("ns", "key", max_ttl=None)


def published(directory: Path, content: bytes = CONTENT) -> tuple[Path, ObjectRecord]:
    """Write an object and return its file."""
    draft = Draft(directory / "partial/draft")
    draft.append(content)
    record = draft.seal(TERMS, NOW)
    draft.flush()
    draft.publish(directory / "objects/ns/ab/key")
    return directory / "objects/ns/ab/key", record


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, os.urandom(BLOCK + 1)], ids=len)
def test_what_was_written_is_read(tmp_path: Path, content: bytes) -> None:
    """The content comes first, so that a region of it is one of the file; the record says what it is."""
    path, record = published(tmp_path, content)
    assert path.read_bytes().startswith(content)
    with path.open("rb") as file:
        assert read_record(file) == record
    assert (record.info.size, record.info.digest) == (len(content), sha256(content))
    assert list((tmp_path / "partial").iterdir()) == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_cut_or_changed_anywhere_in_its_record_is_none(tmp_path: Path) -> None:
    """However little is missing."""
    path, _ = published(tmp_path, b"content")
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 17), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with path.open("rb") as file, pytest.raises(CorruptObject):
            read_record(file)
    for place in [*range(len(b"content"), len(whole), 17), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with path.open("rb") as file, pytest.raises(CorruptObject):
            read_record(file)


def test_content_that_grew_is_not_what_the_record_says(tmp_path: Path) -> None:
    """A record is of so many bytes."""
    path, _ = published(tmp_path)
    path.write_bytes(b"!" + path.read_bytes())
    with path.open("rb") as file, pytest.raises(CorruptObject, match="size"):
        read_record(file)


def test_what_the_disk_has_lost_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sector that can't be read says of this object that it is gone, and nothing of the disk's others."""
    path, record = published(tmp_path)

    def lost(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with path.open("rb") as file:
        monkeypatch.setattr(os, "pread", lost)
        with pytest.raises(CorruptObject):
            read_record(file)
        with pytest.raises(CorruptObject):
            CheckedRegion(file, record.blocks).read(0)


def test_other_failures_of_reading_are_no_damage(tmp_path: Path) -> None:
    """As when the descriptor is not for reading."""
    path, _ = published(tmp_path)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            read_region(descriptor, 1, 0)
    finally:
        os.close(descriptor)


def test_a_write_that_fails_leaves_nothing_of_it(tmp_path: Path) -> None:
    """It may be done again, when there is room."""
    draft = Draft(tmp_path / "draft", expected=2 * len(CONTENT))
    draft.append(CONTENT)
    assert draft.missing == len(CONTENT)
    with largest_file(len(CONTENT) + 10), pytest.raises(OSError, match="File too large"):
        draft.append(CONTENT)
    assert (tmp_path / "draft").stat().st_size == draft.size == len(CONTENT)
    draft.append(CONTENT)
    assert draft.missing == 0
    draft.seal(TERMS, NOW)
    draft.publish(tmp_path / "object")
    assert (tmp_path / "object").read_bytes().startswith(CONTENT * 2)


def test_a_record_that_does_not_fit_may_be_written_again(tmp_path: Path) -> None:
    """What was written of it is gone then."""
    draft = Draft(tmp_path / "draft")
    draft.append(CONTENT)
    with largest_file(len(CONTENT) + 10), pytest.raises(OSError, match="File too large"):
        draft.seal(TERMS, NOW)
    record = draft.seal(TERMS, NOW)
    draft.publish(tmp_path / "object")
    with (tmp_path / "object").open("rb") as file:
        assert read_record(file) == record


def test_a_promise_that_is_not_kept(tmp_path: Path) -> None:
    """Other content than was promised is never sealed."""
    draft = Draft(tmp_path / "draft")
    draft.append(CONTENT)
    with pytest.raises(CorruptObject, match="promised"):
        draft.seal(WriteTerms.checked("ns", "key", max_ttl=None, digest=sha256(b"other")), NOW)
    draft.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_was_given_up_takes_nothing_more(tmp_path: Path) -> None:
    """A cancelled call that goes on in its thread brings nothing back."""
    for draft in (Draft(tmp_path / "new"), Draft(tmp_path / "begun")):
        if draft.size == 0:
            draft.append(b"x")
        draft.discard()
        draft.discard()
        with pytest.raises(RuntimeError):
            draft.append(b"x")
        with pytest.raises(RuntimeError):
            draft.seal(TERMS, NOW)
        with pytest.raises(RuntimeError):
            draft.flush()
        with pytest.raises(RuntimeError):
            draft.publish(tmp_path / "object")
    assert list(tmp_path.iterdir()) == []


def test_what_was_published_is_not_discarded(tmp_path: Path) -> None:
    """Whoever gives it up then comes too late."""
    draft = Draft(tmp_path / "draft")
    draft.append(b"x")
    draft.seal(TERMS, NOW)
    draft.publish(tmp_path / "object")
    draft.discard()
    assert (tmp_path / "object").exists()


def test_a_draft_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    """Not even a directory is made for it."""
    draft = Draft(tmp_path / "partial/draft")
    draft.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_becomes_the_file(tmp_path: Path) -> None:
    """Whatever is told goes nowhere else."""
    spool = tmp_path / "spool"
    draft = Draft(tmp_path / "partial/draft", spool=spool)
    draft.append(CONTENT)
    spool.write_bytes(CONTENT)
    record = draft.seal(TERMS, NOW)
    assert not spool.exists()
    draft.publish(tmp_path / "object")
    with (tmp_path / "object").open("rb") as file:
        assert read_record(file) == record


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", None])
def test_a_spool_that_is_not_what_was_told(tmp_path: Path, content: bytes | None) -> None:
    """Or that is not there; nothing stays of it."""
    spool = tmp_path / "spool"
    draft = Draft(tmp_path / "partial/draft", spool=spool)
    draft.append(CONTENT)
    if content is not None:
        spool.write_bytes(content)
    with pytest.raises(FileNotFoundError if content is None else CorruptObject):
        draft.seal(TERMS, NOW)
    draft.discard()
    assert not list((tmp_path / "partial").iterdir())


def test_a_spool_s_draft_that_is_given_up_leaves_the_spool_to_its_owner(tmp_path: Path) -> None:
    """It is taken when the object is whole, and not before."""
    spool = tmp_path / "spool"
    spool.write_bytes(b"half")
    draft = Draft(tmp_path / "partial/draft", spool=spool)
    draft.append(b"half")
    draft.discard()
    with pytest.raises(RuntimeError):
        draft.append(b"x")
    assert spool.read_bytes() == b"half"


def test_a_stamp_shows_every_change(tmp_path: Path) -> None:
    """Also where the time of the change is put back."""
    path, _ = published(tmp_path)
    before, status = stamp_of(path), path.stat()
    with path.open("r+b") as file:
        file.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = stamp_of(path)
    assert after[:3] == before[:3]
    assert after != before


def test_blocks_are_checked_one_by_one(tmp_path: Path) -> None:
    """Damage of one harms no other."""
    content = os.urandom(2 * BLOCK + 5)
    path, record = published(tmp_path, content)
    with path.open("r+b") as file:
        file.seek(BLOCK + 7)
        file.write(bytes([content[BLOCK + 7] ^ 1]))
    region = CheckedRegion(path.open("rb", buffering=0), record.blocks)
    assert region.read(0) == content[:BLOCK]
    with pytest.raises(CorruptObject, match="block 1"):
        region.read(1)
    assert region.read(2) == content[2 * BLOCK :]
    region.close()
    assert region.read(0) == b""
    region.close()


class HangingFile(io.FileIO):
    """A file on a disk that takes its time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def fileno(self) -> int:
        """Return its descriptor, in time."""
        self.reached.set()
        assert self.go_on.wait(20)
        return super().fileno()


def test_who_closes_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    """Clients leave in the thread that serves all others; the file is closed when the read has ended."""
    path, record = published(tmp_path, b"content")
    file = HangingFile(path)
    region = CheckedRegion(cast(BinaryIO, file), record.blocks)
    read: list[bytes] = []
    reading = threading.Thread(target=lambda: read.append(region.read(0)))
    closing = threading.Thread(target=region.close)
    reading.start()
    assert file.reached.wait(20)
    closing.start()
    closing.join(20)
    assert not closing.is_alive() and not file.closed
    file.go_on.set()
    reading.join(20)
    assert read == [b"content"] and file.closed and region.read(0) == b""
