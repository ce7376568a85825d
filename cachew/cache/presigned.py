"""Addresses of objects in a store that replicas share, which are good for a while for whoever has them.

Bytes that clients fetch there need not pass through this server. An address is of content that never changes, and of
the very object that is about to be served. A store that takes long to find it is not waited for: the object is then
served from here.
"""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from cachew.cache.interface import ObjectInfo
from cachew.cache.tiers import Tier
from cachew.plumbing.errors import CorruptObject, StorageUnavailable

WAIT = 0.5
"""Seconds that a client waits for an address; stores give one in a hundredth of that."""


@dataclass(frozen=True)
class Presigning:
    """For what a store gives addresses.

    :param lifetime: seconds for which one is good.
    :param at_least: bytes of the smallest object.
    """

    lifetime: float
    at_least: int


@runtime_checkable
class Presigns(Protocol):
    """A cache whose storage may be read by clients themselves."""

    def presigned(self, info: ObjectInfo) -> Coroutine[Any, Any, str | None]:
        """Return an address of an object's content.

        :return: None when there is none, or when the storage has another object.
        """


class PresignedAddresses:
    """Gives addresses out of the nearest tier that has some.

    :param tiers: the nearest first.
    :param reactor: for the wait.
    :param rest: seconds for which a tier that was waited for in vain is left alone.
    """

    def __init__(self, *, tiers: Sequence[Tier], reactor: IReactorTime, rest: float) -> None:
        self._tiers = tiers
        self._reactor = reactor
        self._rest = rest
        self._resting_until = 0.0

    async def of(self, info: ObjectInfo) -> str | None:
        """Return an address of an object, None where there is none to be had now."""
        for tier in self._tiers:
            if isinstance(tier.cache, Presigns) and (address := await self._ask(tier, tier.cache, info)) is not None:
                return address
        return None

    async def _ask(self, tier: Tier, cache: Presigns, info: ObjectInfo) -> str | None:
        if self._reactor.seconds() < self._resting_until:
            return None
        asking = Deferred.fromCoroutine(tier.ask(cache.presigned(info)))
        try:
            return await asking.addTimeout(WAIT, self._reactor)
        except TimeoutError:
            self._resting_until = self._reactor.seconds() + self._rest
        except (StorageUnavailable, CorruptObject):
            pass
        return None
