"""Makes settings of what a file says, or tells everything that is wrong with it (pure).

A value is read by the annotation of its key: its type says what is made of it, its steps what it must be besides.
Whatever is wrong is told with where it stands and what is allowed there, all of it at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from cachew.config.sections import (
    After,
    Before,
    Instead,
    Key,
    SecretStr,
    Section,
    keys_of,
    members_of,
    section_of,
    tag_of,
    tagged_members,
)

Place = tuple[str | int, ...]
Mistake = tuple[Place, str]
"""Where something is wrong, from the value down, and what is allowed there."""

Reader = Callable[[], object]
Step = Before | After | Instead
Wanted = TypeVar("Wanted", bound=Section)
Name = TypeVar("Name")

_TABLE = "must be a table"


class Invalid(Exception):
    """A value is not what is allowed.

    :param mistakes: everything that is wrong with it.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        super().__init__("not what is allowed")
        self.mistakes = list(mistakes)


def valid(section: type[Wanted], given: object) -> Wanted:
    """Return a section that a file describes.

    :param given: the file's table.
    :raise Invalid: when it isn't one.
    """
    if isinstance(given, section):
        return given
    if not isinstance(given, Mapping):
        raise Invalid([((), _TABLE)])
    keys = keys_of(section)
    parts = [(key.attribute, (name,), _key_reader(key, name, given)) for name, key in keys.items()]
    unknown = [((str(name),), _unknown(str(name), keys)) for name in given if name not in keys]
    return section(dict(_all_of(parts, unknown)))


def _key_reader(key: Key, name: str, given: Mapping[str, object]) -> Reader:
    def read() -> object:
        if name not in given and key.required:
            raise Invalid([((), "must be set")])
        return _read(key.declared, given.get(name, key.default))

    return read


def _unknown(name: str, keys: Iterable[str]) -> str:
    known = sorted(keys)
    close = get_close_matches(name, known, n=1) or get_close_matches(name.replace("_", "-").lower(), known, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f"unknown key; {hint}allowed here: {', '.join(known)}"


def _all_of(
    parts: Iterable[tuple[Name, Place, Reader]], mistakes: Sequence[Mistake] = ()
) -> Iterator[tuple[Name, Any]]:
    """Yield what is read of each part, by its name.

    :param parts: name, place, and what reads it.
    :param mistakes: what is wrong besides.
    :raise Invalid: at the end, with all that is wrong.
    """
    found: list[Mistake] = []
    for name, place, read in parts:
        try:
            yield name, read()
        except Invalid as error:
            found += [((*place, *inner), message) for inner, message in error.mistakes]
    if found or mistakes:
        raise Invalid([*found, *mistakes])


def _read(annotation: object, given: object) -> object:
    """Return what a value stands for.

    :param annotation: its type with its steps.
    :raise Invalid: when it is not allowed.
    """
    if get_origin(annotation) is not Annotated:
        return _typed(annotation, given)
    plain, *steps = get_args(annotation)
    return _stepwise(plain, steps, given)


def _stepwise(plain: object, steps: Sequence[Step], given: object) -> object:
    """Take the steps of an annotation, of which the last is the outermost."""
    if not steps:
        return _read(plain, given)
    *rest, last = steps
    if isinstance(last, After):
        return _stepped(last, _stepwise(plain, rest, given))
    if isinstance(last, Before):
        return _stepwise(plain, rest, _stepped(last, given))
    return _stepped(last, given)


def _stepped(step: Step, value: object) -> object:
    try:
        return step.function(value)
    except ValueError as error:
        raise Invalid([((), str(error))]) from None


def _typed(wanted: Any, given: object) -> object:
    origin = get_origin(wanted)
    if wanted in _PLAIN:
        return _PLAIN[wanted](given)
    if section := section_of(wanted):
        return valid(section, given)
    if origin is Literal:
        return _one_of(get_args(wanted), given)
    if origin is tuple:
        return _items(get_args(wanted)[0], given)
    if origin is Mapping:
        name_wanted, value_wanted = get_args(wanted)
        return _entries(name_wanted, value_wanted, given)
    if tags := tagged_members(wanted):
        return _tagged(tags, given)
    return None if given is None else _read(_but_none(wanted), given)


def _but_none(union: object) -> object:
    (member,) = (member for member in members_of(union) if member is not type(None))
    return member


def _one_of(allowed: Sequence[object], given: object) -> object:
    if not any(type(given) is type(one) and given == one for one in allowed):
        *first, last = (repr(one) for one in allowed)
        expected = f"{', '.join(first)} or {last}" if first else last
        raise Invalid([((), f"must be {expected}")])
    return given


def _items(wanted: object, given: object) -> tuple[object, ...]:
    if not isinstance(given, list | tuple):
        raise Invalid([((), "must be an array")])
    parts = [(index, (index,), _reader(wanted, item)) for index, item in enumerate(given)]
    return tuple(value for _, value in _all_of(parts))


def _entries(name_wanted: object, wanted: object, given: object) -> dict[object, object]:
    if not isinstance(given, Mapping):
        raise Invalid([((), _TABLE)])
    parts = [(name, (str(name),), _pair_reader(name_wanted, name, wanted, value)) for name, value in given.items()]
    return dict(pair for _, pair in _all_of(parts))


def _pair_reader(name_wanted: object, name: object, wanted: object, value: object) -> Reader:
    def read() -> tuple[object, ...]:
        both = [(0, (), _reader(name_wanted, name)), (1, (), _reader(wanted, value))]
        return tuple(one for _, one in _all_of(both))

    return read


def _reader(wanted: object, given: object) -> Reader:
    return lambda: _read(wanted, given)


def _tagged(tags: Mapping[str, type[Section]], given: object) -> Section:
    if isinstance(given, Section):
        return given
    if not isinstance(given, Mapping):
        raise Invalid([((), _TABLE)])
    name, _ = tag_of(next(iter(tags.values())))
    tag = given.get(name)
    if not isinstance(tag, str) or tag not in tags:
        raise Invalid([((name,), f"must be one of {', '.join(sorted(tags))}")])
    return valid(tags[tag], given)


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise Invalid([((), "must be a string")])
    return given


def _secret(given: object) -> SecretStr:
    return given if isinstance(given, SecretStr) else SecretStr(_text(given))


def _truth(given: object) -> bool:
    if not isinstance(given, bool):
        raise Invalid([((), "must be true or false")])
    return given


def _whole(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise Invalid([((), "must be a whole number")])
    return given


def _number(given: object) -> float:
    if not isinstance(given, float | int) or isinstance(given, bool):
        raise Invalid([((), "must be a number")])
    return float(given)


def _path(given: object) -> Path:
    if not isinstance(given, str | Path):
        raise Invalid([((), "must be a string that names a file or directory")])
    return Path(given)


_PLAIN: Mapping[object, Callable[[object], object]] = {
    str: _text,
    SecretStr: _secret,
    bool: _truth,
    int: _whole,
    float: _number,
    Path: _path,
}
