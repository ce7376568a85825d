"""What replicas know together of the present instances: one record a repository, changed by compare-and-swap.

The record is the truth whenever it can be read. One that the store has damaged says that the instance has ended.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.mirrors.instance import InstanceState
from cachew.plumbing.errors import StorageUnavailable
from cachew.replicas.records import Records, Versioned, escaped

T = TypeVar("T")

_REMEMBERED = 50_000
_SLOW = 1.0
"""Seconds after which a failure is one of those that would keep everybody waiting."""
_LEFT_ALONE = 5.0
"""Seconds for which nobody asks after such a one: a request for what is not mirrored asks several times."""


@dataclass(frozen=True)
class _Read:
    version: str | None
    at: float


class SharedInstances:
    """The present instances as replicas know them together.

    :param records: where they lie.
    :param reactor: bounds how long the store is waited for.
    :param patience: that many seconds.
    """

    def __init__(self, *, records: Records, reactor: IReactorTime, patience: float = 5.0) -> None:
        self._records = records
        self._reactor = reactor
        self._patience = patience
        self._reads: OrderedDict[str, _Read] = OrderedDict()
        self._again = float("-inf")

    def age(self, name: str) -> float:
        """Return how many seconds ago a repository's record was read or written last."""
        read = self._reads.get(name)
        return float("inf") if read is None else self._reactor.seconds() - read.at

    async def read(self, name: str) -> InstanceState | None:
        """Return what the replicas know of a repository, None when nobody has ever known anything.

        :raise StorageUnavailable: when that can't be had.
        """
        at = self._reactor.seconds()
        found = await self._within(lambda: self._records.get(_record(name)))
        self._note(name, found, at)
        return None if found is None else InstanceState.read(found.value) or InstanceState()

    async def write(self, name: str, state: InstanceState) -> None:
        """Let the replicas know something else, if they still know what was read last.

        :raise Conflict: when they don't.
        :raise StorageUnavailable: when the store fails; it may have been written or not.
        """
        at = self._reactor.seconds()
        read = self._reads.get(name)
        version = None if read is None else read.version
        put = await self._within(lambda: self._records.put(_record(name), state.fields(), version=version))
        self._note(name, put, at)

    def _note(self, name: str, found: Versioned | None, at: float) -> None:
        self._reads[name] = _Read(None if found is None else found.version, at)
        self._reads.move_to_end(name)
        while len(self._reads) > _REMEMBERED:
            self._reads.popitem(last=False)

    async def _within(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def asked() -> T:
            return await ask()

        began = self._reactor.seconds()
        if began < self._again:
            raise StorageUnavailable("the store of shared records has not answered lately")
        work: Deferred[Any] = Deferred.fromCoroutine(asked())
        try:
            result: T = await work.addTimeout(self._patience, self._reactor)
        except DeferredTimeout:
            self._failed(began)
            raise StorageUnavailable("the store of shared records does not answer") from None
        except StorageUnavailable:
            self._failed(began)
            raise
        return result

    def _failed(self, began: float) -> None:
        now = self._reactor.seconds()
        if now - began >= _SLOW:
            self._again = now + _LEFT_ALONE


def _record(name: str) -> str:
    return f"instances/{escaped(name)}"
