"""What becomes of a mirror when the instance of its repository ends: none is served, and the next one uses it."""

from contextlib import suppress

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.machine import SERVING, MirrorState
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UnknownPath
from cachew.upstream.listing import Listing

_LEFT = 3600.0
"""Seconds for which the mirror of an ended instance is kept for the next one's use."""


class Succession:
    """Knows the mirrors of instances that have ended.

    :param mirrors: those of the present ones.
    :param clock: tells how long ago they ended.
    """

    def __init__(self, *, mirrors: Mirrors, clock: Clock) -> None:
        self._mirrors = mirrors
        self._clock = clock
        self._left: dict[Identity, float] = {}

    def shares(self, instance: Instance, listing: Listing) -> bool | None:
        """Whether the refs of an instance's mirror have anything that is listed; None when it has no mirror."""
        mirror = self._mirrors.known_as(instance.identity)
        if mirror is None or mirror.life.instance != instance or mirror.life.state is MirrorState.EMPTY:
            return None
        return mirror.refs.recognises(listing)

    def ended(self, instance: Instance) -> None:
        """Serve nothing more of an instance; what its mirror has is of use when another one is made."""
        mirror = self._mirrors.known_as(instance.identity)
        if mirror is not None and mirror.life.instance == instance:
            mirror.end()
            self._mirrors.adopt(self._mirrors.new(instance.identity, mirror))
            self._left[instance.identity] = self._clock.seconds()
            self._mirrors.attempts.forget(instance.identity)

    async def remove_left(self) -> None:
        """Remove mirrors of ended instances in whose place none has been made for long: it has no use any more."""
        now, found = self._clock.seconds(), self._mirrors.first_looks.ended
        while found:
            self._left.setdefault(found.pop(), now)
        for identity, since in list(self._left.items()):
            mirror = self._mirrors.known_as(identity)
            state = MirrorState.EMPTY if mirror is None else mirror.life.state
            if state in SERVING:
                del self._left[identity]
            elif state is MirrorState.EMPTY and now - since >= _LEFT:
                del self._left[identity]
                with suppress(UnknownPath):
                    # Its place among the mirrors may have gone, and its directory is there all the same.
                    self._mirrors.obtain(identity)
                await self._mirrors.forget(identity)
