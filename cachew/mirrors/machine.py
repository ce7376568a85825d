"""The life of a mirror as a table of transitions (pure).

A mirror serves in READY and FETCHING only. Everything else is answered by the upstream.
"""

from enum import Enum, auto


class State(Enum):
    """Where a mirror is in its life."""

    EMPTY = "empty"
    CLONING = "cloning"
    RESTORING = "restoring"
    READY = "ready"
    FETCHING = "fetching"


SERVING = frozenset({State.READY, State.FETCHING})
"""The states in which requests may be answered from the mirror."""


class Event(Enum):
    """What happens to a mirror."""

    FOUND = auto()
    CLONE = auto()
    RESTORE = auto()
    FETCH = auto()
    DONE = auto()
    FAILED = auto()
    FORGOTTEN = auto()


_TABLE: dict[tuple[State, Event], State] = {
    (State.EMPTY, Event.FOUND): State.READY,
    (State.EMPTY, Event.CLONE): State.CLONING,
    (State.EMPTY, Event.RESTORE): State.RESTORING,
    (State.CLONING, Event.DONE): State.READY,
    (State.CLONING, Event.FAILED): State.EMPTY,
    (State.RESTORING, Event.DONE): State.READY,
    (State.RESTORING, Event.FAILED): State.EMPTY,
    (State.RESTORING, Event.CLONE): State.CLONING,
    (State.READY, Event.FETCH): State.FETCHING,
    (State.FETCHING, Event.DONE): State.READY,
    (State.FETCHING, Event.FAILED): State.READY,
    (State.READY, Event.FORGOTTEN): State.EMPTY,
    (State.EMPTY, Event.FORGOTTEN): State.EMPTY,
}


class ImpossibleTransition(ValueError):
    """An event came in a state that has no place for it."""


def step(state: State, event: Event) -> State:
    """Return the state after ``event``.

    :raise ImpossibleTransition: when the table has no such row.
    """
    try:
        return _TABLE[state, event]
    except KeyError:
        raise ImpossibleTransition(f"{event.name} while {state.value}") from None
