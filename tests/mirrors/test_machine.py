"""The table of a mirror's life."""

import pytest

from cachew.mirrors.machine import SERVING, ImpossibleTransition, MirrorEvent, MirrorState, step


def after(*events: MirrorEvent) -> MirrorState:
    state = MirrorState.EMPTY
    for event in events:
        state = step(state, event)
    return state


def test_lives() -> None:
    """Mirrors are cloned, restored or found, fetch, and end."""
    assert after(MirrorEvent.CLONE, MirrorEvent.DONE) is after(MirrorEvent.FOUND) is MirrorState.READY
    assert (
        after(MirrorEvent.RESTORE, MirrorEvent.CLONE, MirrorEvent.DONE)
        is after(MirrorEvent.RESTORE, MirrorEvent.DONE)
        is MirrorState.READY
    )
    assert (
        after(MirrorEvent.CLONE, MirrorEvent.FAILED)
        is after(MirrorEvent.RESTORE, MirrorEvent.FAILED)
        is MirrorState.EMPTY
    )
    assert after(MirrorEvent.FOUND, MirrorEvent.FETCH, MirrorEvent.FAILED) is MirrorState.READY
    assert after(MirrorEvent.FOUND, MirrorEvent.FORGOTTEN) is after(MirrorEvent.FORGOTTEN) is MirrorState.EMPTY


def test_only_whole_mirrors_serve() -> None:
    """A mirror serves while it is ready or fetching, and never else."""
    assert {MirrorState.READY, MirrorState.FETCHING} == SERVING


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (MirrorState.EMPTY, MirrorEvent.FETCH),
        (MirrorState.READY, MirrorEvent.CLONE),
        (MirrorState.CLONING, MirrorEvent.FORGOTTEN),
    ],
)
def test_what_has_no_place(state: MirrorState, event: MirrorEvent) -> None:
    """An event without a row in the table is a mistake and says so."""
    with pytest.raises(ImpossibleTransition, match=event.name):
        step(state, event)
