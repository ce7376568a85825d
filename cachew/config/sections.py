"""Tables of the config file: which keys each has, what they mean, and what was read of them (pure).

A section is declared as a class whose attributes are annotated with what is allowed in them and set to :func:`key`;
the annotation may carry steps (:class:`Before`, :class:`After`, :class:`Instead`), each a function that returns what
the value stands for or raises :class:`ValueError` with what is allowed. :mod:`cachew.config.tablevalues` follows both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import get_annotations
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin


@dataclass(frozen=True)
class Before:
    """A step on what the file says, before its type is looked at."""

    function: Callable[[object], object]


@dataclass(frozen=True)
class After:
    """A step on a value that has its type."""

    function: Callable[[Any], object]


@dataclass(frozen=True)
class Instead:
    """A step that makes the value itself, whatever the type says."""

    function: Callable[[object], object]


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a section.

    :param default: as it would be written in the file; None for a key that is unset, ``...`` for one that must be set.
    :param meaning: one sentence for the reader of the file.
    :param example: TOML for a key that is unset by default.
    :param attribute: its name in the code.
    :param declared: its annotation, steps included.
    """

    default: Any
    meaning: str
    example: str | None
    attribute: str = ""
    declared: object = None

    @property
    def annotation(self) -> object:
        """Its type, without the steps."""
        return unannotated(self.declared)

    @property
    def required(self) -> bool:
        """Whether it must be set."""
        return self.default is ...


def key(default: Any, meaning: str, *, example: str | None = None) -> Any:
    """Describe one key of the config file.

    :param default: as it would be written in the file; None for a key that is unset, ``...`` for one that must be set.
    :param meaning: one sentence for the reader of the file.
    :param example: TOML for a key that is unset by default.
    """
    return Key(default=default, meaning=meaning, example=example)


class SecretStr:
    """A text that does not show itself.

    :param text: the text.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """Return it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._text == other.get_secret_value()

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "SecretStr('**********')"


class Section:
    """A frozen table of the config file, that allows no other keys than its own.

    :param values: a value for each of them, by the attribute's name.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self.__dict__.update(values)

    def replaced(self, **values: object) -> Self:
        """Return the same with other values, which nobody looks at."""
        return type(self)({**self.__dict__, **values})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings stay as they were read: {name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def keys_of(section: type[Section]) -> dict[str, Key]:
    """Return the keys of a section by their names in the file."""
    return {name.replace("_", "-"): one for name, one in _declared(section)}


def _declared(section: type[Section]) -> Iterator[tuple[str, Key]]:
    for name, annotation in get_annotations(section).items():
        yield name, replace(section.__dict__[name], attribute=name, declared=annotation)


def unannotated(annotation: object) -> object:
    """Return an annotation without what was written beside the type."""
    return unannotated(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def section_of(annotation: object) -> type[Section] | None:
    """Return which section a type is, None when it is none."""
    plain = unannotated(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, Section) else None


def members_of(annotation: object) -> tuple[object, ...]:
    """Return the members of a union, none of anything else."""
    plain = unannotated(annotation)
    return get_args(plain) if get_origin(plain) in (Union, UnionType) else ()


def tag_of(section: type[Section]) -> tuple[str, object]:
    """Return the key that tells sections of a union apart, which is the first, and its value for this one, or None."""
    name, first = next(iter(keys_of(section).items()))
    return name, get_args(first.annotation)[0] if get_origin(first.annotation) is Literal else None


def tagged_members(annotation: object) -> dict[str, type[Section]]:
    """Return the members of a union of sections by the value of the key that tells them apart."""
    sections = [found for member in members_of(annotation) if (found := section_of(member)) is not None]
    tags = [(tag_of(section)[1], section) for section in sections]
    return {str(tag): section for tag, section in tags if tag is not None}
