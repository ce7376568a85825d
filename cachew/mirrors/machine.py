"""The life of a mirror as a table of transitions (pure).

A mirror serves in READY and FETCHING only. Everything else is answered by the upstream.
"""

from enum import Enum, auto


class MirrorState(Enum):
    """Where a mirror is in its life."""

    EMPTY = "empty"
    CLONING = "cloning"
    RESTORING = "restoring"
    READY = "ready"
    FETCHING = "fetching"


SERVING = frozenset({MirrorState.READY, MirrorState.FETCHING})
"""The states in which requests may be answered from the mirror."""


class MirrorEvent(Enum):
    """What happens to a mirror."""

    FOUND = auto()
    CLONE = auto()
    RESTORE = auto()
    FETCH = auto()
    DONE = auto()
    FAILED = auto()
    FORGOTTEN = auto()


_TABLE: dict[tuple[MirrorState, MirrorEvent], MirrorState] = {
    (MirrorState.EMPTY, MirrorEvent.FOUND): MirrorState.READY,
    (MirrorState.EMPTY, MirrorEvent.CLONE): MirrorState.CLONING,
    (MirrorState.EMPTY, MirrorEvent.RESTORE): MirrorState.RESTORING,
    (MirrorState.CLONING, MirrorEvent.DONE): MirrorState.READY,
    (MirrorState.CLONING, MirrorEvent.FAILED): MirrorState.EMPTY,
    (MirrorState.RESTORING, MirrorEvent.DONE): MirrorState.READY,
    (MirrorState.RESTORING, MirrorEvent.FAILED): MirrorState.EMPTY,
    (MirrorState.RESTORING, MirrorEvent.CLONE): MirrorState.CLONING,
    (MirrorState.READY, MirrorEvent.FETCH): MirrorState.FETCHING,
    (MirrorState.FETCHING, MirrorEvent.DONE): MirrorState.READY,
    (MirrorState.FETCHING, MirrorEvent.FAILED): MirrorState.READY,
    (MirrorState.READY, MirrorEvent.FORGOTTEN): MirrorState.EMPTY,
    (MirrorState.EMPTY, MirrorEvent.FORGOTTEN): MirrorState.EMPTY,
}


class ImpossibleTransition(ValueError):
    """An event came in a state that has no place for it."""


def step(state: MirrorState, event: MirrorEvent) -> MirrorState:
    """Return the state after ``event``.

    :raise ImpossibleTransition: when the table has no such row.
    """
    try:
        return _TABLE[state, event]
    except KeyError:
        raise ImpossibleTransition(f"{event.name} while {state.value}") from None
