"""Where bytes lie that are sent from there."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.plumbing.regions import AnyRegion, MemoryRegion, Region

TEXT = b"0123456789"


@pytest.fixture(params=["file", "memory"])
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyRegion]:
    """Return the text from its third byte to its eighth."""
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    descriptor = os.open(path, os.O_RDONLY)
    yield Region(descriptor, 2, 6) if request.param == "file" else MemoryRegion(memoryview(TEXT)[2:8])
    os.close(descriptor)


def test_its_bytes_are_read_and_sent_from_where_it_lies(region: AnyRegion) -> None:
    """From any of them on, up to a limit, and never beyond its end."""
    assert region.length == 6 and region.read() == b"234567"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for start, limit, sent in ((0, 4, b"2345"), (4, 100, b"67")):
            assert region.send(ours, start, limit) == len(sent)
            assert theirs.recv(100) == sent


def test_what_is_held_outlives_its_file(tmp_path: Path) -> None:
    """It has a descriptor of its own, which is closed with it."""
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    descriptor = os.open(path, os.O_RDONLY)
    held = Region(descriptor, 2, 6).held()
    os.close(descriptor)
    path.unlink()
    assert held.read() == b"234567"
    held.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held.descriptor)


def test_a_file_that_has_shrunk_is_told(tmp_path: Path) -> None:
    """Nobody is given less than was announced."""
    path = tmp_path / "file"
    path.write_bytes(TEXT[:5])
    with path.open("rb") as file:
        region = Region(file.fileno(), 2, 6)
        with pytest.raises(EOFError):
            region.read()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert (region.send(ours, 0, 6), region.send(ours, 3, 3)) == (3, 0)
