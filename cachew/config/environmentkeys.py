"""Keys of the config that the environment sets (pure).

A key's variable is ``CACHEW_`` and its path in capitals, with ``_`` for every dot and hyphen: ``CACHEW_LOG_LEVEL``,
``CACHEW_GIT_SNAPSHOT_INTERVAL``. What stands in lists of tables has its place in the name
(``CACHEW_CACHE_0_BACKEND``), and a whole table or list is written as TOML has it
(``CACHEW_UPSTREAMS='{"git.example" = {url = "http://10.0.0.5/"}}'``). What the file says itself wins, since the
environment of a container is often that of many. Variables that name no key are left alone: the client has some of its
own, and so do services of Kubernetes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from cachew.config import tomltext
from cachew.config.contradictions import Problem
from cachew.config.defaultupstreams import HOSTS
from cachew.config.settings import Settings
from cachew.config.types import Section
from cachew.config.unions import unannotated, union_members
from cachew.config.upstreams import DefaultUpstreams, Upstream

PREFIX = "CACHEW_"
_NO_WORD = re.compile(r"[^A-Za-z0-9_]")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_MOST_ITEMS = 100

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Taken:
    """A key that the environment has set.

    :param variable: the variable's name.
    :param path: the key's.
    """

    variable: str
    path: Path


def variable_of(path: Path) -> str:
    """Return the name of the variable that sets a key."""
    return PREFIX + _NO_WORD.sub("_", "_".join(map(str, path))).upper()


def with_environment(
    environ: Mapping[str, str], given: Mapping[str, Any], problems: list[Problem]
) -> tuple[dict[str, Any], list[Taken]]:
    """Add to a config what the environment sets and the file doesn't.

    :param environ: the environment.
    :param given: the config as it was read.
    :param problems: gets what is wrong.
    :return: the config, and which keys were taken.
    """
    taken: list[Taken] = []
    named = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    if not named:
        return dict(given), taken
    reader = _Reader(named, problems, taken)
    return reader.table(Settings, given, ()), taken


def in_unicode(variable: str, value: str, path: Path, problems: list[Problem]) -> str:
    """Return what a variable of the environment holds, which may be bytes that are no text.

    :param path: the key that it is for.
    :param problems: gets what is wrong.
    """
    text = value.encode("utf-8", "replace").decode()
    if text != value:
        problems.append(Problem(path, f"the environment variable {variable} is not written in UTF-8"))
    return text


class _Reader:
    def __init__(self, named: Mapping[str, str], problems: list[Problem], taken: list[Taken]) -> None:
        self._named = named
        self._problems = problems
        self._taken = taken

    def table(self, model: type[Section], given: Mapping[str, Any], path: Path) -> dict[str, Any]:
        result = dict(given)
        for name, annotation in _keys(model):
            self._key(result, name, annotation, (*path, name))
        return result

    def _key(self, table: dict[str, Any], name: str, annotation: object, path: Path) -> None:
        inner, present = _table_of(annotation), name in table
        if not present and variable_of(path) in self._named:
            table[name] = self._value(variable_of(path), annotation, path)
        elif path == ("upstreams",) and isinstance(table.get(name, {}), Mapping):
            if hosts := self._hosts(table.get(name, {}), path):
                table[name] = hosts
        elif inner is not None and isinstance(table.get(name, {}), Mapping):
            if found := self.table(inner, table.get(name, {}), path):
                table[name] = found
        elif (items := _items_of(annotation)) and not present and (found_items := self._items(items, path)):
            table[name] = found_items

    def _hosts(self, given: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return the hosts; those of the file and the default ones have variables, since no name shows its dots."""
        result = self.table(DefaultUpstreams, given, path)
        for host in (*HOSTS, *given):
            tables = isinstance(given.get(host, {}), Mapping)
            if tables and (found := self.table(Upstream, given.get(host, {}), (*path, host))):
                result[host] = found
        return result

    def _items(self, kinds: list[type[Section]], path: Path) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number in range(_MOST_ITEMS):
            here = (*path, number)
            if not any(name.startswith(f"{variable_of(here)}_") for name in self._named):
                break
            found.append(self.table(self._kind(kinds, here), {}, here))
        return found

    def _kind(self, kinds: list[type[Section]], path: Path) -> type[Section]:
        """Return the kind of table that an item's own variable names; the first, where there is none or no such."""
        tag = next(iter(kinds[0].model_fields))
        said = self._named.get(variable_of((*path, tag)))
        return next((kind for kind in kinds if _tag(kind) == said), kinds[0])

    def _value(self, variable: str, annotation: object, path: Path) -> Any:
        text = in_unicode(variable, self._named[variable].strip(), path, self._problems)
        self._taken.append(Taken(variable, path))
        if _is_composed(annotation) and text[:1] in ("[", "{"):
            try:
                return tomltext.parse(f"value = {text}")["value"]
            except tomltext.NotToml as error:
                self._problems.append(Problem(path, f"is not TOML: {error}"))
        kinds = _scalars(annotation)
        if bool in kinds and text.lower() in _TRUTHS:
            return _TRUTHS[text.lower()]
        return int(text) if kinds == {int} and _WHOLE.fullmatch(text) else text


def _keys(model: type[Section]) -> Iterator[tuple[str, object]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field.annotation


def _table_of(annotation: object) -> type[Section] | None:
    """Return which table a key holds, None when it holds none."""
    plain = unannotated(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, Section) else None


def _items_of(annotation: object) -> list[type[Section]]:
    """Return which kinds of tables a list holds, none when it holds other things."""
    plain = unannotated(annotation)
    if get_origin(plain) is not tuple:
        return []
    item = get_args(plain)[0]
    single = _table_of(item)
    members = [single] if single is not None else list(union_members(item).values())
    return [member for member in members if issubclass(member, Section)]


def _tag(kind: type[Section]) -> object:
    first = next(iter(kind.model_fields.values())).annotation
    return get_args(first)[0] if get_origin(first) is Literal else None


def _scalars(annotation: object) -> set[object]:
    plain = unannotated(annotation)
    arguments = get_args(plain) if get_origin(plain) not in (None, Literal, tuple) else ()
    return {one for part in arguments for one in _scalars(part)} - {type(None)} if arguments else {plain}


def _is_composed(annotation: object) -> bool:
    """Say whether a key holds a table or a list."""
    return _table_of(annotation) is not None or get_origin(unannotated(annotation)) in (tuple, Mapping)
