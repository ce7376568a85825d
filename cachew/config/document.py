"""Writes what there is to configure, from the settings' own descriptions (pure).

:func:`schema` is the documented default config: read again it gives exactly the defaults, and uncommenting an example
gives a valid setting. :func:`table` is the reference's table of every key.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cachew.config.contradictions import dotted
from cachew.config.settings import Settings
from cachew.config.types import Section
from cachew.config.unions import union_members
from cachew.config.upstreams import DefaultUpstreams

_BESIDE: dict[str, type[Section]] = {"upstreams": DefaultUpstreams}
"""What stands in a table of tables beside them."""


def schema() -> str:
    """Return the default config as TOML, every key with a comment; what is unset by default is commented out."""
    lines = [
        "# cachew's config with all its defaults. Durations: 90s, 15m, 1h30m. Sizes: 500MB, 20GiB.",
        "# ${VAR} in a string is replaced by that environment variable, $$ is a single $.",
        "# A line that begins with # and no space is a setting that is not in force.",
        "",
    ]
    plain, sections = _split(Settings)
    for name, field in plain.items():
        lines += _assignment(name, field)
    for name, field in sections.items():
        lines += _section((name,), field)
    return "\n".join(lines).rstrip() + "\n"


def table() -> str:
    """Return every key as a Markdown table."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    rows += [f"| `{path}` | {default} | {_cell(meaning)} |" for path, default, meaning in _rows(Settings, "")]
    return "\n".join(rows) + "\n"


def _split(model: type[Section]) -> tuple[dict[str, FieldInfo], dict[str, FieldInfo]]:
    plain: dict[str, FieldInfo] = {}
    sections: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        (sections if _models(field.annotation) else plain)[field.alias or name] = field
    return plain, sections


def _models(annotation: object) -> list[type[Section]]:
    """Return the kinds of tables that a key can hold: none for plain values, several for a union."""
    if members := union_members(annotation):
        return [member for member in members.values() if issubclass(member, Section)]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) is None:
        return []
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _is_map(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Mapping


def _assignment(name: str, field: FieldInfo, *, active: bool = True) -> list[str]:
    lines = [f"# {field.description}"]
    default = field.default
    if default is PydanticUndefined or default is None or (default == () and field.examples):
        lines.append(f"#{name} = {(field.examples or ['...'])[0]}")
    else:
        lines.append(f"{'' if active else '#'}{name} = {_toml(default)}")
    return lines


def _section(path: tuple[str, ...], field: FieldInfo) -> list[str]:
    models = _models(field.annotation)
    if _is_map(field):
        return _named_tables(path, models[0], list(field.default))
    if _is_list(field):
        kinds = [item.get(next(iter(item))) for item in field.default]
        return [line for model in models for line in _item(path, model, active=_kind(model) in kinds)]
    lines = ["", *_comment(models[0]), f"[{dotted(path)}]"]
    plain, sections = _split(models[0])
    for name, inner in plain.items():
        lines += _assignment(name, inner)
    for name, inner in sections.items():
        lines += _section((*path, name), inner)
    return lines


def _named_tables(path: tuple[str, ...], model: type[Section], names: list[str]) -> list[str]:
    lines = ["", *_comment(model)]
    if (beside := _BESIDE.get(dotted(path))) is not None:
        lines.append(f"[{dotted(path)}]")
        for inner, field in _split(beside)[0].items():
            lines += _assignment(inner, field)
    for number, name in enumerate(names):
        lines.append(f"[{dotted((*path, name))}]")
        if not number:
            for inner, field in _split(model)[0].items():
                lines += _assignment(inner, field)
    return lines


def _item(path: tuple[str, ...], model: type[Section], *, active: bool) -> list[str]:
    mark = "" if active else "#"
    lines = ["", *_comment(model), f"{mark}[[{dotted(path)}]]"]
    for name, field in _split(model)[0].items():
        lines += _assignment(name, field, active=active)
    return lines


def _comment(model: type[Section]) -> list[str]:
    return [f"# {line.strip()}" for line in (model.__doc__ or "").strip().splitlines()]


def _kind(model: type[Section]) -> object:
    return next(iter(model.model_fields.values())).default


def _rows(model: type[Section], prefix: str) -> Iterator[tuple[str, str, str]]:
    plain, sections = _split(model)
    for name, field in plain.items():
        yield prefix + name, _default_cell(field), field.description or ""
    for name, field in sections.items():
        if (beside := _BESIDE.get(prefix + name)) is not None:
            yield from _rows(beside, f"{prefix}{name}.")
        for kind in _models(field.annotation):
            yield from _rows(kind, _prefix(prefix + name, field, kind))


def _prefix(path: str, field: FieldInfo, model: type[Section]) -> str:
    if _is_map(field):
        return f'{path}."HOST".'
    if _is_list(field):
        kind = _kind(model)
        return f"[[{path}]] " + ("" if kind is PydanticUndefined else f"{kind} ")
    return f"{path}."


def _default_cell(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "unset" if field.default in (None, ()) else f"`{_toml(field.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    # TOML's basic strings, booleans and integers are written as JSON's.
    return json.dumps(value)
