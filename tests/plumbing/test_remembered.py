"""Results are made once for each value in use."""

import weakref

from cachew.plumbing.remembered import Expiring, Newest, Remembered
from tests.fakes.clock import FakeClock


class Value:
    """Something large; all are equal."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_made_once_for_each_value_and_form() -> None:
    """The same object in the same form gives the same result; an equal one, or another form, is made anew."""
    made: list[str] = []
    remembered: Remembered[int] = Remembered()
    first, equal = Value(), Value()

    def make() -> int:
        made.append("once more")
        return len(made)

    assert [remembered.of(value, form, make) for value, form in ((first, 1), (first, 1), (equal, 1), (first, 2))] == [
        1, 1, 2, 3,
    ]  # fmt: skip


def test_the_oldest_goes() -> None:
    """Only the last few are kept."""
    remembered: Remembered[object] = Remembered(kept=2)
    values = [Value(), Value(), Value()]
    results = [remembered.of(value, None, object) for value in values]
    assert remembered.of(values[2], None, object) is results[2]
    assert remembered.of(values[0], None, object) is not results[0]


def test_what_weighs_too_much_goes() -> None:
    """However few they are, results together weigh no more than is allowed; one alone may."""
    remembered: Remembered[bytes] = Remembered(weigh=len, limit=10)
    values = [Value(), Value(), Value()]
    small = remembered.of(values[0], None, lambda: bytes(4))
    large = remembered.of(values[1], None, lambda: bytes(20))
    last = remembered.of(values[2], None, lambda: bytes(4))
    assert remembered.of(values[2], None, lambda: b"") is last
    assert remembered.of(values[1], None, lambda: b"") is not large
    assert remembered.of(values[0], None, lambda: b"") is not small


def test_what_nobody_uses_any_more_goes() -> None:
    """A value is not kept for the sake of what was made of it, which goes with it."""
    remembered: Remembered[bytes] = Remembered(weigh=len, limit=10)
    value = Value()
    gone = weakref.ref(value)
    remembered.of(value, 1, lambda: bytes(9))
    remembered.of(value, 2, lambda: bytes(1))
    assert len(remembered) == 2
    del value
    assert gone() is None and len(remembered) == 0
    other = Value()
    made = remembered.of(other, 1, lambda: bytes(10))
    assert remembered.of(other, 1, lambda: b"") is made


def test_expires() -> None:
    """A value is there until its time is over."""
    clock = FakeClock()
    memory: Expiring[str, int] = Expiring(clock=clock, capacity=9)
    memory.put("a", 1, 5)
    clock.advance(4.9)
    assert memory.get("a") == 1
    clock.advance(0.1)
    assert memory.get("a") is None


def test_bounded() -> None:
    """Past the capacity the longest unused goes, and what has expired goes by the way."""
    clock = FakeClock()
    memory: Expiring[str, int] = Expiring(clock=clock, capacity=2)
    for name in "ab":
        memory.put(name, 1, 5)
    memory.get("a")
    memory.put("c", 1, 9)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 1)
    clock.advance(6)
    memory.put("d", 1, 5)
    assert len(memory) == 2


def test_what_was_added_last() -> None:
    """Past the capacity the oldest goes; what is added again is new."""
    newest: Newest[str] = Newest(2)
    for name in "abac":
        newest.add(name)
    assert [name in newest for name in "abc"] == [True, False, True]
