"""What happened to each repository lately: checks, fetches, what was made, what went wrong."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

KEPT = 100
"""Events of one repository."""
_REPOSITORIES = 5000
_LONGEST = 16_000
_MOST_TEXT = 32_000_000
"""Characters of all texts together."""


@dataclass(frozen=True)
class Happening:
    """Something that happened to a repository.

    :param at: when, in seconds since the epoch; of several the last.
    :param level: the log's level.
    :param text: what, in full.
    :param count: how often, one after the other.
    """

    at: float
    level: str
    text: str
    count: int = 1


class Happenings:
    """Keeps the last events of each repository; of those least heard of, none."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, deque[Happening]] = OrderedDict()
        self._text = 0

    def note(self, name: str, at: float, level: str, text: str) -> None:
        """Keep an event; one that says what the last has said is counted with it."""
        happening = Happening(at, level, text[:_LONGEST])
        kept = self._events.pop(name, None)
        if kept is None:
            kept = deque()
        if kept and (kept[-1].level, kept[-1].text) == (happening.level, happening.text):
            happening = replace(happening, count=kept.pop().count + 1)
            self._text -= len(happening.text)
        kept.append(happening)
        self._text += len(happening.text)
        if len(kept) > KEPT:
            self._text -= len(kept.popleft().text)
        self._events[name] = kept
        while len(self._events) > _REPOSITORIES or (self._text > _MOST_TEXT and len(self._events) > 1):
            self._text -= sum(len(gone.text) for gone in self._events.popitem(last=False)[1])

    def of(self, name: str) -> Sequence[Happening]:
        """Return a repository's events, the last first."""
        return list(reversed(self._events.get(name, ())))
