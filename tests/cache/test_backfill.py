"""Copies into nearer tiers: whole or not at all, and never to the harm of whoever reads; caches are played."""

from dataclasses import replace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.cache.backfill import Copies, CopyingSource, FarEntry, copy
from cachew.cache.filling import Filling
from cachew.cache.interface import ObjectInfo
from cachew.cache.tiers import Tier
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CorruptObject, StorageUnavailable, TooLarge
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource, read_all
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, result_of, value_of

NOW = 1_700_000_000.0
CONTENT = b"content" * 400_000
INFO = ObjectInfo("ns", "key", len(CONTENT), "tag", {"A": "b"}, NOW - 60, NOW + 60, "digest")


class Nearer:
    """A nearer tier: one object is written into it, unless it fails where a test says.

    :param failing: by operation, what it raises or waits for.
    """

    def __init__(self, **failing: Any) -> None:
        self.failing = failing
        self.options: list[dict[str, Any]] = []
        self.content = b""
        self.ended: list[str] = []
        self.tier = Tier(cache=cast(Any, self), name="near", clock=FakeClock(now=NOW), retry_after=5, metrics=Metrics())

    async def _pass(self, name: str) -> None:
        failing = self.failing.get(name)
        if isinstance(failing, Deferred):
            await failing
        elif failing is not None:
            raise failing

    async def create(self, namespace: str, key: str, **options: Any) -> "Nearer":
        await self._pass("create")
        self.options.append(options)
        return self

    async def write(self, data: bytes) -> None:
        await self._pass("write")
        self.content += data

    async def commit(self) -> None:
        await self._pass("commit")
        self.ended.append("commit")

    async def abort(self) -> None:
        self.ended.append("abort")
        await self._pass("abort")


class Original(BytesSource):
    """The object where it comes from.

    :param fails: what reading raises once the content is out.
    """

    def __init__(self, content: bytes = CONTENT, *, fails: Exception | None = None) -> None:
        super().__init__(content)
        self.closed = False
        self._fails = fails

    async def read(self, size: int) -> bytes:
        data = await super().read(size)
        if not data and self._fails is not None:
            raise self._fails
        return data

    def close(self) -> None:
        self.closed = True
        super().close()


class Found:
    """The object, opened in a farther tier."""

    def __init__(self, source: Original | None = None, info: ObjectInfo = INFO) -> None:
        self.info, self.given = info, source or Original()
        self.parts: list[tuple[int, int | None]] = []
        self.closed = False

    def source(self, offset: int = 0, length: int | None = None) -> Original:
        self.parts.append((offset, length))
        return self.given

    def close(self) -> None:
        self.closed = True


def begun(*tiers: Nearer, info: ObjectInfo = INFO) -> tuple[Copies, list[str]]:
    """Begin copies, and return what notes their end."""
    ended: list[str] = []
    copies = Copies(info=info, ended=lambda: ended.append("ended"))
    result_of(copies.begin([tier.tier for tier in tiers], 60))
    return copies, ended


def test_a_tier_is_told_what_is_to_come() -> None:
    """Also how long it is: it refuses what it has no room for before anything is written or goes for it."""
    near = Nearer()
    copies, ended = begun(near)
    assert near.options == [
        {
            "headers": INFO.headers,
            "size": len(CONTENT),
            "ttl": 60,
            "etag": "tag",
            "digest": "digest",
            "modified": INFO.modified,
        }
    ]
    result_of(copies.write(CONTENT))
    result_of(copies.end())
    assert (near.content, near.ended, ended) == (CONTENT, ["commit", "abort"], ["ended"])


@pytest.mark.parametrize("failure", [StorageUnavailable("down"), TooLarge(1, "object")])
@pytest.mark.parametrize("where", ["create", "write", "commit"])
def test_a_tier_that_fails_loses_its_copy_alone(where: str, failure: Exception) -> None:
    """The other one has it."""
    bad, good = Nearer(**{where: failure}), Nearer()
    copies, ended = begun(bad, good)
    for start in range(0, len(CONTENT), 1_000_000):
        result_of(copies.write(CONTENT[start : start + 1_000_000]))
    result_of(copies.end())
    assert bad.ended == ([] if where == "create" else ["abort"])
    assert (good.content, good.ended[0], ended) == (CONTENT, "commit", ["ended"])


def test_what_is_not_whole_becomes_visible_nowhere() -> None:
    """One byte that is missing is enough."""
    near = Nearer()
    copies, ended = begun(near)
    result_of(copies.write(CONTENT[:-1]))
    result_of(copies.end())
    assert (near.ended, ended) == (["abort"], ["ended"])


def test_a_storage_that_can_not_even_be_tidied_harms_nothing() -> None:
    """Its next start does that."""
    near = Nearer(abort=StorageUnavailable("down"))
    copies, ended = begun(near)
    result_of(copies.end())
    assert ended == ["ended"]


def test_an_end_that_is_broken_off_is_an_end() -> None:
    """The object may be copied again."""
    waiting: Deferred[None] = Deferred()
    near = Nearer(commit=waiting)
    copies, ended = begun(near)
    result_of(copies.write(CONTENT))
    ending = Deferred.fromCoroutine(copies.end())
    ending.cancel()
    assert isinstance(failure_of(ending), CancelledError)
    assert (near.ended, ended) == (["abort"], ["ended"])


class Reading:
    """A reader of the whole object, with which a nearer tier is filled."""

    def __init__(self, near: Nearer, source: Original | None = None, info: ObjectInfo = INFO) -> None:
        self.near, self.original = near, source or Original()
        self.ended: list[str] = []
        self.gate: Deferred[None] | None = None
        self.background = Background()
        self.source = CopyingSource(info=info, source=self.original, begin=self._begin, background=self.background)

    async def _begin(self, info: ObjectInfo) -> Copies:
        if self.gate is not None:
            await self.gate
        copies = Copies(info=info, ended=lambda: self.ended.append("ended"))
        await copies.begin([self.near.tier], None)
        return copies

    def read(self, size: int = 1 << 20) -> bytes:
        return result_of(self.source.read(size))


@pytest.mark.parametrize("size", [1, 1 << 16, 1 << 30])
def test_a_reader_fills_the_tier(size: int) -> None:
    """In whatever pieces he reads; the copy is there when he has the last."""
    content = CONTENT[: 100 * size]
    info = replace(INFO, size=len(content))
    reading = Reading(Nearer(), Original(content), info)
    found = b""
    while data := reading.read(size):
        found += data
    assert found == reading.near.content == content
    assert reading.near.ended[0] == "commit"
    assert reading.ended == ["ended"]


def test_an_empty_object_is_copied_too() -> None:
    """It is whole at once."""
    reading = Reading(Nearer(), Original(b""), replace(INFO, size=0))
    assert reading.read() == b""
    assert reading.near.ended[0] == "commit"


def test_regions_are_copied_as_pieces_are() -> None:
    """There is none after the last."""
    reading = Reading(Nearer())
    found = b""
    while (region := result_of(reading.source.region(1_000_000))) is not None:
        found += bytes(region.data)
    assert found == reading.near.content == CONTENT


def test_a_reader_notices_nothing_of_a_tier_that_fails() -> None:
    """He has it all."""
    for where in ("create", "write", "commit"):
        reading = Reading(Nearer(**{where: StorageUnavailable("down")}))
        assert result_of(read_all(reading.source, 1 << 40)) == CONTENT


def test_a_reader_who_leaves_in_the_midst_leaves_no_copy() -> None:
    """And nothing open."""
    reading = Reading(Nearer())
    reading.read()
    reading.source.close()
    assert reading.read() == b""
    assert reading.original.closed
    assert (reading.near.ended, reading.ended) == (["abort"], ["ended"])


def test_a_reader_who_leaves_while_copies_are_begun_leaves_none() -> None:
    """They are ended as soon as they are there."""
    reading = Reading(Nearer())
    reading.gate = Deferred()
    read = Deferred.fromCoroutine(reading.source.read(1))
    reading.source.close()
    reading.gate.callback(None)
    assert value_of(read) == b""
    assert (reading.near.ended, reading.ended) == (["abort"], ["ended"])


def test_an_original_that_breaks_is_told_and_leaves_no_copy() -> None:
    """A part is no object."""
    reading = Reading(Nearer(), Original(CONTENT[:-1], fails=CorruptObject("lost")))
    with pytest.raises(CorruptObject):
        result_of(read_all(reading.source, 1 << 40))
    reading.source.close()
    assert (reading.near.ended, reading.ended) == (["abort"], ["ended"])


def test_an_object_copied_for_its_own_sake() -> None:
    """It is read to its end, and closed, also when that can't be reached."""
    for source in (Original(), Original(CONTENT[:5], fails=StorageUnavailable("down"))):
        near, entry = Nearer(), Found(source)
        copies, ended = begun(near)
        copying = Deferred.fromCoroutine(copy(cast(Any, entry), copies))
        if len(near.content) < len(CONTENT):
            assert isinstance(failure_of(copying), StorageUnavailable)
            assert near.ended == ["abort"]
        else:
            assert near.ended[0] == "commit"
        assert entry.closed and source.closed
        assert ended == ["ended"]


class Far:
    """An object in a farther tier, read by some."""

    def __init__(self) -> None:
        self.found = Found()
        self.wanted = True
        self.filled = 0
        self.entry = FarEntry(
            entry=cast(Any, self.found),
            wanted=lambda: self.wanted,
            begin=cast(Any, None),
            fill=self._fill,
            background=Background(),
        )

    def _fill(self) -> None:
        self.filled += 1


@pytest.mark.parametrize(("offset", "length"), [(0, None), (0, len(CONTENT)), (0, 10**12)])
def test_who_reads_the_whole_fills_on_the_way(offset: int, length: int | None) -> None:
    """Once: the next reader of the same entry just reads."""
    far = Far()
    assert isinstance(far.entry.source(offset, length), CopyingSource)
    assert far.entry.source(offset, length) is cast(Any, far.found.given)
    assert far.filled == 0


@pytest.mark.parametrize(("offset", "length"), [(1, None), (0, len(CONTENT) - 1), (5, 0)])
def test_who_reads_a_part_has_it_filled_behind(offset: int, length: int | None) -> None:
    """Once, however many parts."""
    far = Far()
    for _ in range(2):
        assert far.entry.source(offset, length) is cast(Any, far.found.given)
    assert far.filled == 1
    assert far.found.parts == [(offset, length)] * 2


def test_what_others_fill_is_only_read() -> None:
    """It may be wanted later."""
    far = Far()
    far.wanted = False
    assert far.entry.source() is cast(Any, far.found.given)
    assert far.entry.source(5) is cast(Any, far.found.given)
    assert far.filled == 0
    far.wanted = True
    assert isinstance(far.entry.source(), CopyingSource)
    far.entry.close()
    assert far.found.closed


# --- one filling at a time --------------------------------------------------------------------------------------------


class Opening:
    """A farther tier that has the object."""

    def __init__(self, *entries: Found) -> None:
        self.entries = list(entries)
        self.gate: Deferred[None] | None = None
        self.asked = 0

    async def open(self, namespace: str, key: str) -> Any:
        self.asked += 1
        if self.gate is not None:
            await self.gate
        return self.entries.pop(0) if self.entries else None


class Filled:
    """A nearer tier, and a farther one."""

    def __init__(self, near: Nearer, *entries: Found) -> None:
        self.near, self.far = near, Opening(*entries)
        self.clock = FakeClock(now=NOW)
        self.filling = Filling(
            tiers=[near.tier, cast(Any, self.far)], clock=self.clock, background=Background(clock=self.clock)
        )

    def entry(self, info: ObjectInfo = INFO) -> Any:
        return self.filling.entry(cast(Any, Found(info=info)), [self.near.tier])


def test_two_who_read_at_once_make_one_copy() -> None:
    """And the next one after them none, as far as the entry tells; another entry may be copied again."""
    world = Filled(Nearer())
    first, second = world.entry().source(), world.entry().source()
    assert result_of(first.read(1)) == b"c"
    assert result_of(second.read(1)) == b"c"
    assert len(world.near.options) == 1
    assert not isinstance(world.entry().source(), CopyingSource)
    first.close()
    assert isinstance(world.entry().source(), CopyingSource)


@pytest.mark.parametrize("left", [0.0, -5.0])
def test_what_has_expired_meanwhile_is_not_copied(left: float) -> None:
    """It is read to its end all the same."""
    world = Filled(Nearer())
    source = world.entry(replace(INFO, expires=NOW + left)).source()
    assert result_of(read_all(source, 1 << 40)) == CONTENT
    assert world.near.options == []


def test_a_copy_lives_as_long_as_the_original() -> None:
    """No longer, and for ever where that does."""
    for expires, ttl in ((NOW + 7, 7.0), (None, None)):
        world = Filled(Nearer())
        result_of(read_all(world.entry(replace(INFO, expires=expires)).source(), 1 << 40))
        assert world.near.options[0]["ttl"] == ttl


def test_a_beginning_that_is_broken_off_keeps_nobody_from_the_next() -> None:
    """The name is free again."""
    waiting: Deferred[None] = Deferred()
    world = Filled(Nearer(create=waiting))
    reading = Deferred.fromCoroutine(world.entry().source().read(1))
    reading.cancel()
    assert isinstance(failure_of(reading), CancelledError)
    world.near.failing.clear()
    assert result_of(read_all(world.entry().source(), 1 << 40)) == CONTENT
    assert world.near.ended[0] == "commit"


def test_parts_are_filled_behind_once_at_a_time() -> None:
    """Whoever asks meanwhile, for a part or for all, leaves it at that; later it may be done again."""
    world = Filled(Nearer(), Found(), Found())
    world.far.gate = Deferred()
    world.entry().source(5)
    world.entry().source(7)
    assert not isinstance(world.entry().source(), CopyingSource)
    assert world.far.asked == 1
    world.far.gate.callback(None)
    assert world.near.ended[0] == "commit"
    world.entry().source(5)
    assert world.far.asked == 2


def test_what_is_gone_before_it_is_filled_is_no_failure() -> None:
    """There is nothing to be copied then."""
    world = Filled(Nearer())
    world.entry().source(5)
    assert world.far.asked == 1
    assert world.near.options == []
    assert isinstance(world.entry().source(), CopyingSource)


def test_what_could_not_be_begun_leaves_nothing_open() -> None:
    """Whoever hands an entry over has it closed in any case."""
    waiting: Deferred[None] = Deferred()
    world, entry = Filled(Nearer(create=waiting)), Found()
    copying = Deferred.fromCoroutine(world.filling.copy(cast(Any, entry), [world.near.tier]))
    assert not entry.closed
    copying.cancel()
    assert isinstance(failure_of(copying), CancelledError)
    assert entry.closed
