"""The table of a mirror's life."""

import pytest

from cachew.mirrors.machine import SERVING, Event, ImpossibleTransition, State, step


def after(*events: Event) -> State:
    state = State.EMPTY
    for event in events:
        state = step(state, event)
    return state


def test_lives() -> None:
    """Mirrors are cloned, restored or found, fetch, and end."""
    assert after(Event.CLONE, Event.DONE) is after(Event.FOUND) is State.READY
    assert after(Event.RESTORE, Event.CLONE, Event.DONE) is after(Event.RESTORE, Event.DONE) is State.READY
    assert after(Event.CLONE, Event.FAILED) is after(Event.RESTORE, Event.FAILED) is State.EMPTY
    assert after(Event.FOUND, Event.FETCH, Event.FAILED) is State.READY
    assert after(Event.FOUND, Event.FORGOTTEN) is after(Event.FORGOTTEN) is State.EMPTY


def test_only_whole_mirrors_serve() -> None:
    """A mirror serves while it is ready or fetching, and never else."""
    assert {State.READY, State.FETCHING} == SERVING


@pytest.mark.parametrize(
    ("state", "event"),
    [(State.EMPTY, Event.FETCH), (State.READY, Event.CLONE), (State.CLONING, Event.FORGOTTEN)],
)
def test_what_has_no_place(state: State, event: Event) -> None:
    """An event without a row in the table is a mistake and says so."""
    with pytest.raises(ImpossibleTransition, match=event.name):
        step(state, event)
