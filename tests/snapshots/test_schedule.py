"""When things are due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.replicas.records import CLOCKS_APART
from cachew.snapshots.schedule import (
    Memory,
    Run,
    Stored,
    Task,
    due,
    jitter,
    learnt,
    of_repositories,
    still_known,
    still_wanted,
    worth_making,
)

HOUR = 3600.0
TASK, OTHER = Task("git.example/one", "snapshot"), Task("git.example/two", "snapshot")


def test_what_was_never_done_is_due() -> None:
    """A new repository's archives are made at the next turn; what is switched off never is."""
    assert due({TASK: HOUR, OTHER: 0}, {}, 1.0, "seed") == [TASK]


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_task_is_due_once_in_its_interval(repository: str, seed: str) -> None:
    """It comes again after its interval, shifted by the replica's own part of it, and not before."""
    task = Task(repository, "snapshot")
    again = 1000 + HOUR * (1 + jitter(task, seed))
    runs = {task: Run(1000, True)}
    assert -0.2 <= jitter(task, seed) <= 0.2
    assert due({task: HOUR}, runs, again - 1, seed) == []
    assert due({task: HOUR}, runs, again + 1, seed) == [task]


def test_replicas_don_t_work_in_step() -> None:
    """Each replica has a shift of its own, and each repository on it."""
    shifts = {jitter(task, seed) for task in (TASK, OTHER) for seed in ("one", "two", "three")}
    assert len(shifts) == 6


def test_what_failed_is_tried_again_sooner() -> None:
    """Not at once, and not only after the whole interval."""
    runs = {TASK: Run(1000, False)}
    assert due({TASK: HOUR}, runs, 1000 + HOUR / 20, "seed") == []
    assert due({TASK: HOUR}, runs, 1000 + HOUR / 5, "seed") == [TASK]


def test_the_longest_overdue_comes_first() -> None:
    """Nothing starves."""
    runs = {TASK: Run(2000, True), OTHER: Run(1000, True)}
    assert due({TASK: HOUR, OTHER: HOUR}, runs, 1e6, "seed") == [OTHER, TASK]


@pytest.mark.parametrize(
    ("stored", "worth"),
    [
        (None, True),
        (Stored("commit", 9000), False),
        (Stored("other", 9000), True),
        (Stored("commit", 1000), True),
    ],
)
def test_an_unchanged_young_archive_is_not_made_again(stored: Stored | None, worth: bool) -> None:
    """Missing, changed or old ones are."""
    assert worth_making(stored, "commit", 10_000, 5000) is worth


def test_what_nobody_asks_for_is_forgotten() -> None:
    """And so is what was done to a repository that is gone."""
    assert still_wanted({TASK: 100, OTHER: 900}, 1000, 500) == {OTHER: 900}
    runs = {TASK: Run(1, True), OTHER: Run(2, True)}
    assert of_repositories(runs, ["git.example/two"]) == {OTHER: Run(2, True)}
    assert still_known(runs, ["git.example/two"], 1000, 500) == {OTHER: Run(2, True)}
    assert still_known(runs, [], 400, 500) == runs


TASKS = st.builds(Task, st.text(max_size=5), st.text(max_size=5))


@given(
    st.dictionaries(TASKS, st.builds(Run, st.floats(0, 1e10), st.booleans()), max_size=4),
    st.dictionaries(TASKS, st.floats(0, 1e10), max_size=4),
)
def test_the_memory_outlives_a_restart(runs: dict[Task, Run], wanted: dict[Task, float]) -> None:
    """What was written is read again."""
    assert Memory.decode(Memory(runs, wanted).encode()) == Memory(runs, wanted)


@given(st.floats(0, 1e6), st.floats(-CLOCKS_APART, CLOCKS_APART), st.floats(0, 1e6))
def test_what_another_replica_did_is_never_taken_for_older_than_it_is(at: float, apart: float, since: float) -> None:
    """Whatever the difference between the clocks, and never for something of the future."""
    now = at + since
    run = learnt(None, 7, at + apart, now)
    assert at - 1e-6 <= run.at <= now + 1e-6
    assert (run.succeeded, run.number) == (True, 7)


def test_what_is_known_already_teaches_nothing() -> None:
    """A failure of this replica's own stays one until somebody has done the task."""
    failed = Run(1000, False, 7)
    assert learnt(failed, 7, 500, 2000) == failed
    assert learnt(failed, 8, 500, 2000) == Run(500 + CLOCKS_APART, True, 8)


def test_a_mirror_behind_its_upstream_replaces_no_archive() -> None:
    """Unless that is too old; what is missing is made of what there is."""
    stored = Stored("a", 1000)
    assert not worth_making(stored, "b", 2000, 5000, current=False)
    assert worth_making(stored, "b", 9000, 5000, current=False)
    assert worth_making(None, "b", 2000, 5000, current=False)
