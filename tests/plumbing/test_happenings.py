"""What happened to each repository lately, and what of it is still to be written down."""

import pytest

from cachew.plumbing.happenings import KEPT, Happening, Happenings, HappeningsChange

A, B = "git.example/org/a", "git.example/org/b"


def texts(happenings: Happenings, name: str) -> list[str]:
    """Return what is told of a repository, the last first."""
    return [one.text for one in happenings.of(name)]


def written(*changes: HappeningsChange) -> dict[str, list[Happening]]:
    """Return what lies in a store that was handed these changes: as it is described, nothing else."""
    kept: dict[tuple[str, int], Happening] = {}
    for change in changes:
        kept |= {(name, one.number): one for name, one in change.events}
        kept = {key: one for key, one in kept.items() if key[1] >= change.oldest.get(key[0], 0)}
    found: dict[str, list[Happening]] = {}
    for (name, _), one in sorted(kept.items(), key=lambda item: item[1].number):
        found.setdefault(name, []).append(one)
    return found


def told(happenings: Happenings, *names: str) -> dict[str, list[Happening]]:
    """Return what is kept in memory, in the order in which it happened."""
    return {name: list(reversed(happenings.of(name))) for name in names if happenings.of(name)}


def test_the_last_is_told_first() -> None:
    """Of each repository its own; of one that nothing was heard of, nothing."""
    happenings = Happenings()
    for name, text in ((A, "one"), (B, "other"), (A, "two")):
        happenings.note(name, 1.0, "info", text)
    assert (texts(happenings, A), texts(happenings, B), texts(happenings, "c")) == (["two", "one"], ["other"], [])


def test_what_is_said_again_is_counted() -> None:
    """With the time of the last; another text or level between them makes two of it."""
    happenings = Happenings()
    for at, level, text in ((1.0, "info", "x"), (2.0, "info", "x"), (3.0, "warn", "x"), (4.0, "info", "x")):
        happenings.note(A, at, level, text)
    assert [(one.at, one.level, one.count) for one in happenings.of(A)] == [
        (4.0, "info", 1),
        (3.0, "warn", 1),
        (2.0, "info", 2),
    ]


def test_of_one_repository_the_last_few_are_kept() -> None:
    """However often it is heard of."""
    happenings = Happenings()
    for number in range(KEPT + 20):
        happenings.note(A, 1.0, "info", str(number))
    assert texts(happenings, A) == [str(number) for number in reversed(range(20, KEPT + 20))]


def test_a_repository_that_nobody_hears_of_makes_room() -> None:
    """For those of which something was heard since."""
    happenings = Happenings()
    happenings.note(A, 1.0, "info", "long ago")
    happenings.note("again", 1.0, "info", "long ago, too")
    for number in range(4999):
        happenings.note(f"git.example/org/{number}", 1.0, "info", "x")
        if not number:
            happenings.note("again", 2.0, "info", "and now")
    assert not happenings.of(A) and texts(happenings, "again") == ["and now", "long ago, too"]


def test_all_texts_together_are_bounded() -> None:
    """A long one is cut; what many of them take is taken from those least heard of."""
    happenings = Happenings()
    for number in range(2500):
        happenings.note(f"git.example/org/{number}", 1.0, "info", "x" * 50_000)
    lengths = [sum(map(len, texts(happenings, f"git.example/org/{number}"))) for number in range(2500)]
    assert lengths == [0] * 500 + [16_000] * 2000


def test_what_was_counted_or_has_gone_takes_no_room() -> None:
    """The bound is of what is there, so nobody loses anything to texts that are no more."""
    happenings = Happenings()
    happenings.note(B, 1.0, "info", "kept")
    for _ in range(3000):
        happenings.note(A, 1.0, "info", "x" * 16_000)
    for number in range(3000):
        happenings.note(A, 1.0, "info", f"{number:5}" + "x" * 16_000)
    assert texts(happenings, B) == ["kept"]


def test_only_what_has_changed_is_to_be_written() -> None:
    """And nothing a second time."""
    happenings = Happenings()
    happenings.note(A, 1.0, "info", "one")
    happenings.note(B, 1.0, "info", "other")
    assert len(happenings.take_change().events) == 2
    assert not happenings.take_change()
    happenings.note(A, 2.0, "info", "two")
    change = happenings.take_change()
    assert [(name, one.text) for name, one in change.events] == [(A, "two")] and change


@pytest.mark.parametrize("every", [1, 3, 50, 1000])
def test_whoever_writes_the_changes_has_what_is_kept(every: int) -> None:
    """However many events lie between two writes: counted ones, ones that have gone, and of repositories that have."""
    happenings, changes = Happenings(), [HappeningsChange([], {})]
    for number in range(600):
        name = (A, B)[number % 7 == 0]
        happenings.note(name, float(number), "info", f"text {number // 4}")
        if number % every == 0:
            changes.append(happenings.take_change())
    changes.append(happenings.take_change())
    assert written(*changes) == told(happenings, A, B)


def test_a_change_that_was_not_written_is_taken_again() -> None:
    """With what has happened since: nothing of either is lost."""
    happenings = Happenings()
    happenings.note(A, 1.0, "info", "one")
    before = happenings.take_change()
    happenings.note(A, 2.0, "info", "two")
    happenings.note(B, 2.0, "info", "other")
    lost = happenings.take_change()
    happenings.note(A, 3.0, "info", "three")
    happenings.give_back(lost)
    assert written(before, happenings.take_change()) == told(happenings, A, B)
    assert not happenings.take_change()


def test_the_going_of_a_repository_is_taken_again_too() -> None:
    """What was written of it before has to go."""
    happenings = Happenings()
    happenings.note(A, 1.0, "info", "one")
    before = happenings.take_change()
    for number in range(5000):
        happenings.note(f"git.example/org/{number}", 1.0, "info", "x")
    happenings.give_back(happenings.take_change())
    assert A in written(before) and A not in written(before, happenings.take_change())


def test_earlier_runs_come_before_this_one() -> None:
    """What was noted before they could be read keeps its place behind them, and is still to be written."""
    earlier = Happenings()
    for text in ("one", "two"):
        earlier.note(A, 1.0, "info", text)
    kept = earlier.take_change()
    now = Happenings()
    now.note(A, 2.0, "info", "three")
    now.recall(kept.events)
    assert texts(now, A) == ["three", "two", "one"]
    assert written(kept, now.take_change()) == told(now, A)


def test_a_run_that_goes_on_with_what_the_last_has_said_counts_on() -> None:
    """Once for both."""
    earlier, now = Happenings(), Happenings()
    earlier.note(A, 1.0, "info", "x")
    kept = earlier.take_change()
    now.note(A, 2.0, "info", "x")
    now.recall(kept.events)
    (one,) = now.of(A)
    assert (one.count, one.at) == (2, 2.0)
    assert written(kept, now.take_change()) == told(now, A)
