"""Results are made once for each value in use."""

from cachew.plumbing.remembered import Remembered


def test_made_once_for_each_value_and_form() -> None:
    """The same object in the same form gives the same result; an equal one, or another form, is made anew."""
    made: list[str] = []
    remembered: Remembered[int] = Remembered()
    first, equal = ["a"], ["a"]

    def make() -> int:
        made.append("once more")
        return len(made)

    assert [remembered.of(value, form, make) for value, form in ((first, 1), (first, 1), (equal, 1), (first, 2))] == [
        1, 1, 2, 3,
    ]  # fmt: skip


def test_the_oldest_goes() -> None:
    """Only the last few are kept."""
    remembered: Remembered[object] = Remembered(kept=2)
    values = [["a"], ["b"], ["c"]]
    results = [remembered.of(value, None, object) for value in values]
    assert remembered.of(values[2], None, object) is results[2]
    assert remembered.of(values[0], None, object) is not results[0]


def test_what_weighs_too_much_goes() -> None:
    """However few they are, results together weigh no more than is allowed; one alone may."""
    remembered: Remembered[bytes] = Remembered(weigh=len, limit=10)
    values = [["a"], ["b"], ["c"]]
    small = remembered.of(values[0], None, lambda: bytes(4))
    large = remembered.of(values[1], None, lambda: bytes(20))
    last = remembered.of(values[2], None, lambda: bytes(4))
    assert remembered.of(values[2], None, lambda: b"") is last
    assert remembered.of(values[1], None, lambda: b"") is not large
    assert remembered.of(values[0], None, lambda: b"") is not small
