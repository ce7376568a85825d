"""How much is read ahead out of an object store, with a store whose every answer waits for the test."""

import os
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.blocks import BLOCK, Blocks, ContentDigest
from cachew.cache.objectsource import PARALLEL_FROM, ObjectSource
from tests.fakes.clock import FakeClock

_MANY = 64


class HeldStore:
    """A bucket with one object, whose requests are answered when the test says so.

    :ivar asked: all requests, as first byte and one past the last.
    """

    def __init__(self, blocks: int) -> None:
        self.content = os.urandom(BLOCK) * blocks
        self.asked: list[tuple[int, int]] = []
        self._held: deque[Callable[[], None]] = deque()

    def blocks(self) -> Blocks:
        """Return the digests of the content."""
        written = ContentDigest()
        written.update(self.content)
        return written.blocks()

    def read_range(self, path: str, start: int, end: int) -> memoryview:
        """Return a range of the content."""
        return memoryview(self.content)[start:end]

    def call(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Hold a request."""
        answered: Deferred[Any] = Deferred()
        self.asked.append(args[1:])
        self._held.append(lambda: answered.callback(function(*args)))
        return answered

    @property
    def under_way(self) -> int:
        """How many requests have not been answered."""
        return len(self._held)

    def answer(self) -> None:
        """Answer the oldest request that is under way, if there is one."""
        if self._held:
            self._held.popleft()()


def source_of(store: HeldStore, offset: int = 0, clock: FakeClock | None = None) -> ObjectSource:
    """Return a stream over the content."""
    length = len(store.content) - offset

    async def damaged() -> None:
        pytest.fail("nothing is damaged")

    return ObjectSource(
        bucket=store,  # type: ignore[arg-type]
        path="object",
        blocks=store.blocks(),
        offset=offset,
        length=length,
        damaged=damaged,
        clock=clock or FakeClock(now=0.0),
    )


def read(source: ObjectSource, size: int = 8 * BLOCK) -> Deferred[bytes]:
    """Begin to read."""
    return Deferred.fromCoroutine(source.read(size))


def test_requests_grow_and_end_where_parts_end() -> None:
    """The first is for a block alone; none lies across the bounds of parts, which are eight blocks long."""
    store = HeldStore(20)
    source = source_of(store, offset=5 * BLOCK + 1)
    received = b""
    while len(received) < 15 * BLOCK - 1:
        reading = read(source)
        while not reading.called:
            store.answer()
        received += reading.result  # type: ignore[operator]
    assert received == store.content[5 * BLOCK + 1 :]
    asked = [(start // BLOCK, end // BLOCK) for start, end in store.asked]
    assert asked == [(5, 6), (6, 8), (8, 12), (12, 16), (16, 20)]


def test_requests_over_a_slow_line_are_for_less() -> None:
    """So that none takes as long as the store's time-out; they grow again when the line has become quick."""
    store, clock = HeldStore(31), FakeClock(now=0.0)
    source = source_of(store, clock=clock)
    for number in range(12):
        reading = read(source)
        if number < 9:
            clock.advance(1.0 * (store.asked[-1][1] - store.asked[-1][0]) / BLOCK)
        store.answer()
        assert reading.called
    blocks = [(end - start) // BLOCK for start, end in store.asked]
    assert blocks == [1, 2, 4, 1, 2, 4, 2, 4, 2, 2, 4, 3]


def test_a_small_region_is_not_read_ahead() -> None:
    """Who wants a little gets one request at a time."""
    store = HeldStore(PARALLEL_FROM // BLOCK - 1)
    source = source_of(store)
    for _ in range(3):
        read(source)
        assert store.under_way == 1
        store.answer()
        assert store.under_way == 0


def test_a_reader_who_waits_is_read_ahead_for() -> None:
    """With every wait one more request is under way, up to three."""
    store = HeldStore(_MANY)
    source = source_of(store)
    ahead = []
    for _ in range(6):
        assert not read(source).called
        store.answer()
        ahead.append(store.under_way)
    assert ahead == [2, 3, 3, 3, 3, 3]


def test_a_slow_reader_holds_little() -> None:
    """What has come and waits to be read is no reason to ask for more."""
    store = HeldStore(_MANY)
    source = source_of(store)
    read(source)
    store.answer()
    received = BLOCK
    while received < _MANY * BLOCK:
        while store.under_way:
            store.answer()
        piece = read(source, BLOCK).result
        received += len(piece)  # type: ignore[arg-type]
        held = sum(end - start for start, end in store.asked) - received
        assert held <= 24 * BLOCK
    assert store.asked[-1][1] == _MANY * BLOCK
