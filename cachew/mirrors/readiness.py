"""Which repositories have mirrors that serve, remembered until something changes.

The schedule asks at every turn, and to look through twenty thousand mirrors takes a tenth of a second.
"""

from collections.abc import Sequence

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock

_AGAIN = 300.0
"""Seconds after which all are looked through again, though nobody has told of a change."""


class ReadyRepositories:
    """The repositories whose mirrors are ready, and those whose mirrors were not looked at since the start.

    What has gone from the disk shows later: nothing is looked at there.

    :param mirrors: the mirrors.
    :param clock: tells how long ago they were looked through.
    """

    def __init__(self, *, mirrors: Mirrors, clock: Clock) -> None:
        self._mirrors = mirrors
        self._clock = clock
        self._known: Sequence[Identity] = ()
        self._as_of: tuple[int, float] | None = None

    def __call__(self) -> Sequence[Identity]:
        """Return them."""
        changes, now = self._mirrors.changes, self._clock.seconds()
        if self._as_of is None or self._as_of[0] != changes or now - self._as_of[1] >= _AGAIN:
            self._as_of = changes, now
            ready = (mirror.identity for mirror in self._mirrors.known() if mirror.life.ready)
            self._known = [*ready, *self._mirrors.first_looks.unseen]
        return self._known
