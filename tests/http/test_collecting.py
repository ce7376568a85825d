"""Request bodies that are needed whole: where they lie, how much they may be, and that they go again."""

import gc
import gzip
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from cachew.http.collecting import FREE, IN_MEMORY, BodyStore
from cachew.http.incoming import Body
from cachew.http.requests import StreamingRequest
from cachew.plumbing.budget import Budget
from cachew.plumbing.errors import BadRequest, Busy, StorageUnavailable, TooLarge
from cachew.plumbing.streams import PushSource, Source, read_all
from tests.fakes.settled import failure_of, value_of
from tests.http.wire import Signal, serving

MIB = 1024 * 1024
LARGE = os.urandom(MIB) * 3


def store_of(directory: Path, *, limit: int = 64 * MIB, share: int = 64 * MIB, files: int = 64) -> BodyStore:
    return BodyStore(directory=directory, budget=Budget(limit=limit, share=share, files=files))


def collecting(
    store: BodyStore, source: PushSource, *, owner: str = "1.2.3.4", length: int | None = None, limit: int = 64 * MIB,
    encoding: str | None = None,
) -> Deferred[Body]:  # fmt: skip
    return Deferred.fromCoroutine(store.collect(source, owner=owner, length=length, limit=limit, encoding=encoding))


def sent(*pieces: bytes) -> PushSource:
    source = PushSource()
    for piece in pieces:
        source.data(piece)
    source.finish()
    return source


def text_of(body: Body) -> bytes:
    return b"".join(body.pieces())


@pytest.fixture
def descriptors() -> Iterator[int]:
    """How many are open; a test that leaves more behind fails."""
    before = len(os.listdir("/proc/self/fd"))
    yield before
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_small_body_is_in_memory(tmp_path: Path, descriptors: int) -> None:
    """What a request has up to 1 MiB takes no file."""
    store = store_of(tmp_path)
    body = value_of(collecting(store, sent(LARGE[:MIB])))
    assert text_of(body) == LARGE[:MIB] and body.size == MIB
    assert body.digest == hashlib.sha256(LARGE[:MIB]).hexdigest()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert store.budget.in_memory == MIB
    body.close()


def test_what_is_free_counts_against_nothing(tmp_path: Path) -> None:
    """A body that is no longer than is free takes nothing out of the budget; a longer one takes what is beyond."""
    store = store_of(tmp_path)
    small, larger = (value_of(collecting(store, sent(LARGE[:FREE], LARGE[FREE:size]))) for size in (FREE, FREE + 1))
    assert (store.budget.used, store.budget.in_memory) == (1, FREE + 1)
    assert (text_of(small), text_of(larger)) == (LARGE[:FREE], LARGE[: FREE + 1])
    larger.close()
    assert (store.budget.used, store.budget.in_memory) == (0, 0)
    small.close()


def test_a_large_body_is_spooled(tmp_path: Path, descriptors: int) -> None:
    """What is beyond 1 MiB lies in a file that has no name and goes with the last who reads it."""
    store = store_of(tmp_path)
    body = value_of(collecting(store, sent(LARGE[:MIB], LARGE[MIB:])))
    assert text_of(body) == LARGE and body.digest == hashlib.sha256(LARGE).hexdigest()
    assert store.budget.in_memory == 0 and store.budget.used == len(LARGE) - FREE
    assert list(tmp_path.iterdir()) == []
    source = body.source()
    body.close()
    assert value_of(Deferred.fromCoroutine(read_all(source, len(LARGE)))) == LARGE
    assert store.budget.used == store.budget.open_files == 0


def test_a_body_goes_with_the_last_who_refers_to_it(tmp_path: Path, descriptors: int) -> None:
    """Nobody has to close a body for its budget and its file to be free."""
    store = store_of(tmp_path)
    bodies = [value_of(collecting(store, sent(text))) for text in (LARGE, LARGE[:MIB])]
    assert store.budget.used > 3 * MIB
    del bodies
    assert (store.budget.used, store.budget.in_memory, store.budget.open_files) == (0, 0, 0)


def test_compressed_bodies_count_by_what_they_say(tmp_path: Path) -> None:
    """The budget is for inflated bytes, since those are what is kept."""
    store = store_of(tmp_path)
    body = value_of(collecting(store, sent(gzip.compress(LARGE)), encoding="gzip"))
    assert text_of(body) == LARGE and store.budget.used == len(LARGE) - FREE


def test_one_client_has_a_share_of_the_budget(tmp_path: Path, descriptors: int) -> None:
    """Past its share a client is told to come back later, and others are served; when all is used up, nobody is."""
    store = store_of(tmp_path, limit=5 * MIB, share=4 * MIB)
    first = value_of(collecting(store, sent(LARGE)))
    refused = failure_of(collecting(store, sent(LARGE)))
    assert isinstance(refused, Busy) and refused.retry_after
    other = value_of(collecting(store, sent(LARGE[: 2 * MIB]), owner="5.6.7.8"))
    assert isinstance(failure_of(collecting(store, sent(LARGE), owner="9.9.9.9")), Busy)
    del first, other
    assert text_of(value_of(collecting(store, sent(LARGE), owner="9.9.9.9"))) == LARGE


def test_small_requests_are_taken_whatever_large_ones_hold(tmp_path: Path) -> None:
    """The first bytes of each body cost nothing, so that ordinary requests go on beside a flood."""
    store = store_of(tmp_path, limit=3 * MIB, share=3 * MIB)
    flood = value_of(collecting(store, sent(LARGE)))
    taken = value_of(collecting(store, sent(LARGE[:2000], LARGE[2000:FREE])))
    assert text_of(taken) == LARGE[:FREE]
    del flood


def test_all_bodies_in_memory_together_are_bounded(tmp_path: Path, descriptors: int) -> None:
    """A hundred bodies just below 1 MiB each don't fill the memory: what comes after 64 MiB goes to files."""
    store = store_of(tmp_path, limit=1024 * MIB, share=1024 * MIB, files=400)
    bodies = [value_of(collecting(store, sent(bytes(IN_MEMORY)))) for _ in range(100)]
    assert store.budget.in_memory <= 64 * MIB
    assert store.budget.open_files >= 36
    del bodies


def test_what_is_announced_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """A length above the limit, or above what is left, is refused without a byte."""
    store = store_of(tmp_path, limit=4 * MIB, share=2 * MIB)
    unsent = PushSource()
    assert isinstance(failure_of(collecting(store, unsent, length=MIB + 1, limit=MIB)), TooLarge)
    assert unsent.closed
    assert isinstance(failure_of(collecting(store, PushSource(), length=3 * MIB)), Busy)


@pytest.mark.parametrize("end", [BadRequest("broken"), None])
def test_a_body_that_breaks_off_leaves_nothing(tmp_path: Path, descriptors: int, end: Exception | None) -> None:
    """Whether its client leaves or its handler is cancelled, a half body's file and budget are free at once."""
    store, source = store_of(tmp_path), PushSource()
    waiting = collecting(store, source)
    source.data(LARGE)
    assert store.budget.used == len(LARGE) - FREE
    if end is not None:
        source.fail(end)
        assert failure_of(waiting) is end
    else:
        waiting.cancel()
        assert isinstance(failure_of(waiting), CancelledError)
    assert source.closed
    assert (store.budget.used, store.budget.open_files, store.budget.in_memory) == (0, 0, 0)


def test_a_removed_directory_is_made_again(tmp_path: Path) -> None:
    """Removing the scratch directory under a running server costs no request."""
    store = store_of(tmp_path / "gone" / "spools")
    assert text_of(value_of(collecting(store, sent(LARGE)))) == LARGE


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """Where no file can be made, the client is told to come back later, and nothing is held."""
    (tmp_path / "file").touch()
    store = store_of(tmp_path / "file" / "spools")
    assert isinstance(failure_of(collecting(store, sent(LARGE))), StorageUnavailable)
    assert store.budget.used == store.budget.open_files == 0


class Counted:
    """The body of one of many requests.

    :param count: bytes that all of them have read.
    :param full: called when that is ``enough``.
    """

    count = 0

    def __init__(self, body: Source, enough: Signal, most: int) -> None:
        self._body, self._enough, self._most = body, enough, most

    async def read(self, size: int) -> bytes:
        if Counted.count == self._most:
            self._enough.fire()
        piece = await self._body.read(size)
        Counted.count += len(piece)
        return piece

    def close(self) -> None:
        self._body.close()


@pytest_twisted.ensureDeferred
async def test_fifty_open_bodies_cost_no_memory() -> None:
    """Fifty clients that are in the midst of 20 MB, 4 MB of which have come, hold files, and free them when they go."""
    arrived, size = Signal(), 4 * MIB

    async def take(request: StreamingRequest) -> None:
        cast(Any, request).body = Counted(request.body, arrived, 50 * size)
        await request.collect(64 * MIB)

    async with serving(take) as server:
        budget = server.site.bodies.budget
        for _ in range(50):
            client = await server.connect()
            client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n", bytes(size))
        await arrived.wait()
        assert (budget.used, budget.in_memory, budget.open_files) == (50 * (size - FREE), 0, 50)
        await server.leave()
        assert (budget.used, budget.open_files) == (0, 0)
