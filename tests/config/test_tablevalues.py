"""What is made of a table of the config file."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest

from cachew.config.sections import After, Before, SecretStr, Section, key
from cachew.config.tablevalues import Invalid, valid


def halved(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value // 2


class Cat(Section):
    kind: Literal["cat"] = key("cat", "A cat.")
    lives: Annotated[int, Before(lambda value: value), After(halved), After(halved)] = key(36, "How many.")


class Dog(Section):
    kind: Literal["dog"] = key("dog", "A dog.")
    tag_text: SecretStr | None = key(None, "What nobody may see.")


class House(Section):
    name: str = key(..., "Its name.")
    pets: tuple[Cat | Dog, ...] = key(({"kind": "cat"},), "Who lives there.")
    rooms: Mapping[Annotated[str, After(str.upper)], bool] = key({"hall": True}, "Which are warm.")


def mistakes(given: object) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(Invalid) as caught:
        valid(House, given)
    return caught.value.mistakes


def test_what_is_not_said_is_the_default_as_if_it_were_written() -> None:
    """Defaults go through the same steps as what the file says, the innermost step first."""
    house = valid(House, {"name": "h"})
    (cat,) = house.pets
    assert isinstance(cat, Cat) and cat.lives == 9
    assert house.rooms == {"HALL": True}


def test_everything_that_is_wrong_is_told_with_its_place() -> None:
    """Missing keys, unknown ones, items, entries, and what steps refuse."""
    pets = [{"kind": "cat", "lives": 3}, {"kind": "dog", "tag-text": 5}, {"kind": "cow"}, 7, {"kind": "cat", "x": 1}]
    assert mistakes({"pets": pets, "rooms": {"hall": "warm"}, "names": 1}) == [
        (("name",), "must be set"),
        (("pets", 0, "lives"), "must be even"),
        (("pets", 1, "tag-text"), "must be a string"),
        (("pets", 2, "kind"), "must be one of cat, dog"),
        (("pets", 3), "must be a table"),
        (("pets", 4, "x"), "unknown key; allowed here: kind, lives"),
        (("rooms", "hall"), "must be true or false"),
        (("names",), 'unknown key; did you mean "name"? allowed here: name, pets, rooms'),
    ]
    assert mistakes(3) == [((), "must be a table")]


def test_a_secret_does_not_show_itself() -> None:
    """Neither alone nor in what holds it; who asks for it gets it."""
    house = valid(House, {"name": "h", "pets": [{"kind": "dog", "tag-text": "hush"}]})
    (dog,) = house.pets
    assert isinstance(dog, Dog) and dog.tag_text is not None and dog.tag_text.get_secret_value() == "hush"
    assert "hush" not in f"{house!r} {house} {dog.tag_text}"


def test_settings_stay_as_they_were_read() -> None:
    """Nobody changes them; others are others, and equal when their values are."""
    house = valid(House, {"name": "h"})
    with pytest.raises(AttributeError):
        house.name = "other"
    other = house.replaced(name="other")
    assert (house.name, other.name) == ("h", "other")
    assert other != house and other.replaced(name="h") == house
