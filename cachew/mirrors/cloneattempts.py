"""Attempts to mirror a repository that failed: when the next one may be made, and what is said until then."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError, CorruptObject, NotFound, StorageFull, UpstreamUnreachable
from cachew.upstream.verdictmemory import UpstreamChanges

_FIRST_RETRY = 10.0
_LAST_RETRY = 600.0
_MOMENT = 60.0
"""Seconds within which a mirror that turns out damaged was hardly sound when it was made."""
AT_ONCE = 10
"""How often in a row such a one is made anew at once: a disk that goes bad damages several things in a minute."""


@dataclass
class _FailedAttempt:
    failure: Exception
    again_at: float
    asked: int
    count: int = 1


@dataclass
class _Made:
    at: float
    short_lived: int


class CloneAttempts:
    """Leaves what could not be mirrored alone for longer and longer, also what is damaged as often as it is made.

    :param clock: gives the pauses.
    :param ref_interval: returns for how many seconds it counts what an upstream has said of its refs, or that there are
        none.
    :param changes: knows which upstreams have changed since: what an attempt has failed for may be over then.
    """

    def __init__(
        self, *, clock: Clock, ref_interval: Callable[[], float], changes: UpstreamChanges | None = None
    ) -> None:
        self._clock = clock
        self._changes = UpstreamChanges() if changes is None else changes
        self._ref_interval = ref_interval
        self._failed: dict[Identity, _FailedAttempt] = {}
        self._made: dict[Identity, _Made] = {}
        self._under_way: set[Identity] = set()

    @contextmanager
    def making(self, identity: Identity) -> Iterator[None]:
        """Take note of an attempt while the block makes it."""
        self._under_way.add(identity)
        try:
            yield
        finally:
            self._under_way.discard(identity)

    def under_way(self, identity: Identity) -> bool:
        """Say whether an attempt is being made."""
        return identity in self._under_way

    def may_begin(self, identity: Identity) -> bool:
        """Say whether an attempt may be made now."""
        failed = self._last(identity)
        return failed is None or self._clock.seconds() >= failed.again_at

    def _last(self, identity: Identity) -> _FailedAttempt | None:
        """Return what failed last, None when nothing has since the upstream changed."""
        failed = self._failed.get(identity)
        return None if failed is None or self._changes.void(identity.name, failed.asked) else failed

    def note(self, identity: Identity, failure: Exception) -> None:
        """Note that an attempt has failed; replicas that failed together don't try again together."""
        before = self._last(identity)
        count = 1 if before is None else before.count + 1
        if isinstance(failure, NotFound):
            # It was asked for its refs and no more, and may have some at any moment.
            pause, count = min(self._ref_interval(), _FIRST_RETRY), 0
        else:
            pause = _pause(count)
        self._failed[identity] = _FailedAttempt(failure, self._clock.seconds() + pause, self._changes.ask(), count)

    def made(self, identity: Identity) -> None:
        """Note that an attempt has succeeded."""
        before = self._made.get(identity)
        self._made[identity] = _Made(self._clock.seconds(), 0 if before is None else before.short_lived)
        self._failed.pop(identity, None)

    def lost(self, identity: Identity) -> None:
        """Note that what was made is damaged. It is made anew at once, but not again and again for nothing."""
        made, now = self._made.get(identity), self._clock.seconds()
        if made is None:
            return
        made.short_lived = made.short_lived + 1 if now - made.at < _MOMENT else 0
        count = made.short_lived - AT_ONCE
        if count > 0:
            failure = CorruptObject("its mirror was damaged each time it was made")
            self._failed[identity] = _FailedAttempt(failure, now + _pause(count), self._changes.ask(), count)

    def forget(self, identity: Identity) -> None:
        """Let the next attempt be made as soon as it is wanted."""
        self._failed.pop(identity, None)
        self._made.pop(identity, None)

    def error(self, identity: Identity, *, url: str, reason: str | None) -> CachewError:
        """Return what is told of a repository that is left alone.

        :param url: its upstream's.
        :param reason: what is known of the failure in words.
        """
        failure = self._failed[identity].failure
        if isinstance(failure, StorageFull):
            return StorageFull(str(failure))
        if isinstance(failure, NotFound):
            return NotFound(str(failure))
        return UpstreamUnreachable(url, f"could not be mirrored: {reason or failure}")


def _pause(count: int) -> float:
    return random.uniform(0.5, 1.0) * min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** min(count - 1, 30))
