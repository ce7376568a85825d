"""Reading on from a farther tier."""

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.failover import NearEntry, ReadOnSource
from cachew.cache.interface import Entry, ObjectInfo
from cachew.plumbing.errors import CorruptObject, StorageUnavailable
from cachew.plumbing.streams import BytesSource, Source, read_all
from tests.fakes.settled import failure_of, result_of, value_of

CONTENT = b"0123456789"
INFO = ObjectInfo(namespace="ns", key="key", size=10, etag="tag", headers={}, modified=0.0, expires=None)


class Cut:
    """A source that fails after so many bytes, and knows whether it was closed."""

    def __init__(self, data: bytes, good: int, failure: Exception) -> None:
        self._data, self._good, self._failure = data, good, failure
        self.closed = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes, as long as they are good."""
        if self._good <= 0 and self._data:
            raise self._failure
        count = min(size, self._good)
        piece, self._data = self._data[:count], self._data[count:]
        self._good -= count
        return piece

    def close(self) -> None:
        """Close."""
        self.closed = True


class Copy:
    """An entry whose sources fail after so many bytes, and which knows whether it was closed."""

    def __init__(self, good: int = 10, failure: Exception | None = None) -> None:
        self.info = INFO
        self._good, self._failure = good, failure or CorruptObject("damaged")
        self.sources: list[Cut] = []
        self.closed = False

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a source over a part."""
        end = 10 if length is None else offset + length
        self.sources.append(Cut(CONTENT[offset:end], self._good - offset, self._failure))
        return self.sources[-1]

    def close(self) -> None:
        """Close."""
        self.closed = True

    @property
    def all_closed(self) -> bool:
        """Whether it and everything that was taken from it is."""
        return self.closed and all(source.closed for source in self.sources)


def reading(near: Copy, far: Entry | None, offset: int = 0, length: int | None = None) -> Source:
    """Read a part of an object whose copy is near and which a farther tier may have."""

    async def farther() -> Entry | None:
        return far

    return NearEntry(entry=near, farther=farther).source(offset, length)


@pytest.mark.parametrize("failure", [CorruptObject("damaged"), StorageUnavailable("it fails")])
@pytest.mark.parametrize("good", [0, 4, 9])
def test_the_rest_comes_from_the_farther_tier(good: int, failure: Exception) -> None:
    """Wherever the copy fails, and however, the reader gets every byte once; everything is closed in the end."""
    near, far = Copy(good, failure), Copy()
    source = reading(near, far)
    assert result_of(read_all(source, 100)) == CONTENT
    source.close()
    assert near.sources[0].closed and far.all_closed


@pytest.mark.parametrize(("offset", "length"), [(3, None), (3, 5), (3, 100), (0, 0), (10, None)])
def test_a_part_goes_on_as_that_part(offset: int, length: int | None) -> None:
    """Neither a byte before it nor one behind it is read."""
    source = reading(Copy(good=5), Copy(), offset, length)
    end = 10 if length is None else offset + length
    assert result_of(read_all(source, 100)) == CONTENT[offset:end]
    source.close()


def test_what_fails_everywhere_fails() -> None:
    """It goes on once: where the farther tier fails too the reader is told, and nothing is opened again."""
    near, far = Copy(good=2), Copy(good=5)
    source = reading(near, far)
    with pytest.raises(CorruptObject):
        result_of(read_all(source, 100))
    assert len(far.sources) == 1
    source.close()
    assert near.sources[0].closed and far.all_closed


def test_without_a_farther_copy_the_first_failure_counts() -> None:
    """Nobody has the object: the reader is told what was wrong with the copy."""
    source = reading(Copy(failure=StorageUnavailable("the disk is gone"), good=2), None)
    with pytest.raises(StorageUnavailable, match="the disk is gone"):
        result_of(read_all(source, 100))


def test_a_reader_who_left_while_the_farther_copy_was_opened_leaves_nothing() -> None:
    """It is closed at once."""
    opened: Deferred[Entry] = Deferred()

    async def farther() -> Entry:
        return await opened

    near, far = Copy(good=0), Copy()
    source = ReadOnSource(source=near.source(), offset=0, length=10, farther=farther)
    read = Deferred.fromCoroutine(source.read(5))
    source.close()
    opened.callback(far)
    assert isinstance(failure_of(read), CorruptObject)
    assert far.all_closed and near.sources[0].closed


def test_a_closed_source_goes_on_nowhere() -> None:
    """What fails after its end opens nothing."""
    far = Copy()
    source = reading(Copy(good=0), far)
    source.close()
    with pytest.raises(CorruptObject):
        result_of(source.read(5))
    assert far.sources == []


def test_content_that_was_found_sound_leaves_as_it_is() -> None:
    """A source whose bytes lie in a file or in memory that stays is handed out itself."""

    class Sound(Copy):
        def source(self, offset: int = 0, length: int | None = None) -> Source:
            return BytesSource(CONTENT)

    source = reading(Sound(), None)
    assert isinstance(source, BytesSource)
    assert value_of(Deferred.fromCoroutine(source.read(100))) == CONTENT


def test_the_entry_is_closed_with_what_it_is_of() -> None:
    """And says of the object what that says."""

    async def farther() -> None:
        return None

    near = Copy()
    entry = NearEntry(entry=near, farther=farther)
    assert entry.info is INFO
    entry.close()
    assert near.closed
