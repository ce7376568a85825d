"""What is held while one works on a mirror: who keeps whom waiting, and that nothing stays held."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager as Held

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.coalescing import holding
from cachew.mirrors.locks import MirrorLocks
from tests.fakes.settled import failure_of, value_of

HOLDERS: dict[str, Callable[[MirrorLocks], Held[None]]] = {
    "alone": MirrorLocks.alone,
    "exclusive": MirrorLocks.exclusive,
    "undisturbed": MirrorLocks.undisturbed,
    "following refs": lambda locks: holding(locks.refs),
    "fetching ids": lambda locks: locks.packs.together(),
}


class Work:
    """Somebody who holds something until he is told to end.

    :ivar begun: whether he has it.
    """

    def __init__(self, held: Held[None]) -> None:
        self.begun = False
        self._end: Deferred[None] = Deferred()
        self.done = Deferred.fromCoroutine(self._work(held))

    async def _work(self, held: Held[None]) -> None:
        async with held:
            self.begun = True
            await self._end

    def end(self) -> None:
        """Let go."""
        self._end.callback(None)
        value_of(self.done)


def start(locks: MirrorLocks, what: str) -> Work:
    """Begin to hold something."""
    return Work(HOLDERS[what](locks))


BESIDE = {
    ("undisturbed", "following refs"), ("undisturbed", "fetching ids"), ("undisturbed", "exclusive"),
    ("following refs", "fetching ids"), ("fetching ids", "fetching ids"),
}  # fmt: skip


@pytest.mark.parametrize("second", HOLDERS)
@pytest.mark.parametrize("first", HOLDERS)
def test_who_goes_on_beside_whom(first: str, second: str) -> None:
    """Fetches go on beside each other and beside indexing; what takes packs away waits, and keeps fetches waiting."""
    locks = MirrorLocks()
    holder = start(locks, first)
    waiter = start(locks, second)
    assert holder.begun
    assert waiter.begun is ((first, second) in BESIDE or (second, first) in BESIDE)
    holder.end()
    assert waiter.begun
    waiter.end()
    for what in HOLDERS:
        start(locks, what).end()


@pytest.mark.parametrize("waiting", HOLDERS)
@pytest.mark.parametrize("holding_", HOLDERS)
def test_who_gives_up_waiting_leaves_nothing_held(holding_: str, waiting: str) -> None:
    """Wherever he waited: everybody else gets what he wants afterwards."""
    locks = MirrorLocks()
    holder, gone = start(locks, holding_), start(locks, waiting)
    gone.done.cancel()
    assert isinstance(failure_of(gone.done), CancelledError)
    holder.end()
    for what in HOLDERS:
        work = start(locks, what)
        assert work.begun
        work.end()


def test_who_waits_for_ids_to_come_lets_the_refs_be_followed() -> None:
    """A long fetch of ids keeps repacking waiting, but not the next look at the upstream's refs."""
    locks = MirrorLocks()
    fetching, repack = start(locks, "fetching ids"), start(locks, "exclusive")
    start(locks, "following refs").end()
    assert not repack.begun
    fetching.end()
    assert repack.begun
    repack.end()
