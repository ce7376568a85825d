"""What happened to each repository lately: checks, fetches, what was made, what went wrong."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
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
    :param number: which of all events it is, over all repositories and runs.
    """

    at: float
    level: str
    text: str
    count: int = 1
    number: int = 0


@dataclass(frozen=True)
class HappeningsChange:
    """What is to be written down.

    :param events: those that are new or have changed, with their repositories.
    :param oldest: number of the first event that is kept of a repository that has changed; beyond all where none is.
    """

    events: Sequence[tuple[str, Happening]]
    oldest: Mapping[str, int]

    def __bool__(self) -> bool:
        return bool(self.oldest)


class Happenings:
    """Keeps the last events of each repository; of those least heard of, none."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, deque[Happening]] = OrderedDict()
        self._text = 0
        self._number = 0
        self._changed: dict[str, int] = {}
        """Repositories that have changed, with the number of the first event that has."""

    def note(self, name: str, at: float, level: str, text: str) -> None:
        """Keep an event; one that says what the last has said is counted with it."""
        self._number += 1
        self._keep(name, Happening(at, level, text[:_LONGEST], 1, self._number))

    def _keep(self, name: str, happening: Happening) -> None:
        kept = self._events.pop(name, None)
        if kept is None:
            kept = deque()
        if kept and (kept[-1].level, kept[-1].text) == (happening.level, happening.text):
            last = kept.pop()
            happening = replace(happening, count=last.count + happening.count, number=last.number)
            self._text -= len(happening.text)
        kept.append(happening)
        self._text += len(happening.text)
        if len(kept) > KEPT:
            self._text -= len(kept.popleft().text)
        self._events[name] = kept
        self._changed.setdefault(name, happening.number)
        while len(self._events) > _REPOSITORIES or (self._text > _MOST_TEXT and len(self._events) > 1):
            gone, events = self._events.popitem(last=False)
            self._text -= sum(len(one.text) for one in events)
            self._changed[gone] = self._number

    def of(self, name: str) -> Sequence[Happening]:
        """Return a repository's events, the last first."""
        return list(reversed(self._events.get(name, ())))

    def recall(self, events: Iterable[tuple[str, Happening]]) -> None:
        """Take up what earlier runs have noted, before what this one has.

        :param events: in the order in which they happened.
        """
        since = [(name, one) for name, kept in self._events.items() for one in kept]
        self._events.clear()
        self._text, self._changed = 0, {}
        for name, one in events:
            self._number = max(self._number, one.number)
            self._keep(name, one)
        self._changed = {name: at for name, at in self._changed.items() if name not in self._events}
        for name, one in sorted(since, key=lambda pair: pair[1].number):
            self._number += 1
            self._keep(name, replace(one, number=self._number))

    def take_change(self) -> HappeningsChange:
        """Return what has changed since this was asked last."""
        changed, self._changed = self._changed, {}
        kept = {name: list(self._events.get(name, ())) for name in changed}
        return HappeningsChange(
            events=[(name, one) for name, first in changed.items() for one in kept[name] if one.number >= first],
            oldest={name: kept[name][0].number if kept[name] else self._number + 1 for name in changed},
        )

    def give_back(self, change: HappeningsChange) -> None:
        """Take notice that a change was not written down."""
        first = dict(change.oldest)
        first.update((name, one.number) for name, one in reversed(change.events))
        self._changed = {**self._changed, **first}
