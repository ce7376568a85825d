"""What is done for repositories at this moment, and what waits for its turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.jobs import Slots

_SERVE = "serve"
"""What serving clients is called among the kinds of work."""


@dataclass(frozen=True, kw_only=True)
class WorkStatus:
    """A piece of work under way.

    :param kind: ``fetch``, ``snapshot``, ``serve``, …
    :param began: when it began, or began to wait, in seconds since the epoch; of several, the first.
    :param count: how many pieces of it there are.
    :param waits: whether it waits for its turn.
    """

    kind: str
    repository: str
    began: float
    count: int = 1
    waits: bool = False


class CurrentWork:
    """Tells what is done.

    :param places: where work waits for its turn, by its kind.
    :param background: work that nobody waits for.
    :param clock: what time it is.
    """

    def __init__(self, *, places: Mapping[str, Slots], background: Background, clock: Clock) -> None:
        self._places = places
        self._background = background
        self._clock = clock

    @property
    def clients_waiting(self) -> int:
        """How many requests wait for a git process."""
        return self._places[_SERVE].waiting

    def pieces(self) -> Sequence[WorkStatus]:
        """Return what is done for repositories, and what waits to be; the oldest first."""
        now = self._clock.now()
        waiting = [
            WorkStatus(kind=kind, repository=name, began=now - seconds, count=count, waits=True)
            for kind, slots in self._places.items()
            for name, count, seconds in slots.queue
        ]
        waits = {(work.kind, work.repository) for work in waiting}
        running = [
            WorkStatus(kind=_SERVE, repository=name, began=now - seconds, count=count)
            for name, count, seconds in self._places[_SERVE].under_way
        ]
        for what, seconds in self._background.under_way:
            kind, _, name = what.partition(" of ")
            if "/" in name and (kind, name) not in waits:
                running.append(WorkStatus(kind=kind, repository=name, began=now - seconds))
        return sorted([*running, *waiting], key=lambda work: work.began)
