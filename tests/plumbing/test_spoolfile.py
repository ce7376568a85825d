"""The file of a spool."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.spoolfile import SpoolFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spools" / "one"


@pytest.fixture
def file(path: Path) -> Iterator[SpoolFile]:
    file = SpoolFile(path)
    yield file
    file.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that nobody waits at."""
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


def test_it_is_made_when_it_is_first_needed(file: SpoolFile, path: Path) -> None:
    """With its directory, for nobody else to read."""
    assert not path.parent.exists()
    file.append(memoryview(b"one"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_appended_stands_at_its_end(file: SpoolFile, path: Path, pipe: tuple[int, int]) -> None:
    """Whether it was in memory or in a pipe."""
    file.append(memoryview(b"one "))
    os.write(pipe[1], b"two ")
    file.splice(pipe[0])
    file.append(memoryview(b"three"))
    assert path.read_bytes() == b"one two three" and file.size == 13


def test_an_empty_pipe_is_told_from_one_that_has_ended(file: SpoolFile, tmp_path: Path) -> None:
    """The one may still give something."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        file.splice(reading)
    os.close(writing)
    file.splice(reading)
    os.close(reading)
    assert file.size == 0


def test_what_is_there_already_is_not_written_into(file: SpoolFile, path: Path) -> None:
    """Nor what a link leads to."""
    path.parent.mkdir()
    path.write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        file.append(memoryview(b"one"))
    path.unlink()
    path.symlink_to(path.parent / "target")
    with pytest.raises(FileExistsError):
        file.append(memoryview(b"one"))
    assert not (path.parent / "target").exists() and file.size == 0


def test_a_released_file_is_written_on_and_never_made_again(file: SpoolFile, path: Path) -> None:
    """Its readers go on; once it is closed its name may be another's."""
    file.append(memoryview(b"one"))
    path.unlink()
    file.released = True
    file.append(memoryview(b" two"))
    assert os.pread(file.descriptor(), 10, 0) == b"one two"
    file.close()
    with pytest.raises(SpoolFailed):
        file.descriptor()
    assert not path.exists()


def test_it_is_closed_once(file: SpoolFile) -> None:
    """Whoever closes it again closes nobody else's descriptor."""
    descriptor = file.descriptor()
    file.close()
    other = os.open(os.devnull, os.O_RDONLY)
    file.close()
    os.fstat(other)
    assert other == descriptor
    os.close(other)


def test_a_full_disk_is_told_and_counts_nothing(file: SpoolFile, path: Path, pipe: tuple[int, int]) -> None:
    """As the disk's own error."""
    path.parent.mkdir()
    descriptor = file.descriptor()
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    os.close(full)
    with pytest.raises(OSError, match="No space left") as failed:
        file.append(memoryview(b"one"))
    assert failed.value.errno == errno.ENOSPC and file.size == 0


def test_a_large_one_is_closed_beside(file: SpoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that answers everybody does not wait while the blocks of a removed file are freed."""
    closed: list[threading.Thread] = []
    close = os.close

    def closing(descriptor: int) -> None:
        closed.append(threading.current_thread())
        close(descriptor)

    monkeypatch.setattr(os, "close", closing)
    descriptor = file.descriptor()
    file.size = 1 << 30
    file.close()
    for thread in threading.enumerate():
        if thread.name == "close-spool":
            thread.join()
    assert len(closed) == 1 and closed[0] is not threading.main_thread()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
