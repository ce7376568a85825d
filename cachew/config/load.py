"""Reads the config file: TOML text and an environment in, frozen settings or every problem out (pure).

A problem says where it is and what is allowed there. All of them are found in one go: unknown keys, wrong types,
undefined variables and settings that contradict each other.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from cachew.config import tomltext
from cachew.config.contradictions import Problem, contradictions
from cachew.config.defaultupstreams import with_defaults
from cachew.config.endpoints import numbers_complaint
from cachew.config.environmentkeys import Taken, in_unicode, with_environment
from cachew.config.settings import Settings
from cachew.config.types import proxy_complaint
from cachew.config.unions import unannotated, union_members

_LONGEST_LINE = 2000
_VARIABLE = re.compile(r"\$(?:\$|\{([^}]*)\})")
_TYPE_NAMES = {
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "tuple_type": "must be an array",
    "mapping_type": "must be a table",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "path_type": "must be a string that names a file or directory",
    "string_too_short": "must not be empty",
    "string_unicode": "must be written in UTF-8",
    "missing": "must be set",
}
Path = tuple[str | int, ...]
_SECRETS = frozenset(
    {"token", "header", "access-key", "secret-key", "github-secret", "gitlab-token", "gitea-secret", "username"}
)
"""Keys whose values let somebody in."""


class ConfigErrors(Exception):
    """The config can't be used.

    :param file: the file's name, or what stands for it.
    :param problems: all that is wrong with it.
    :param taken: which keys the environment has set.
    """

    def __init__(self, file: str, problems: Sequence[Problem], taken: Sequence[Taken] = ()) -> None:
        super().__init__(file, problems)
        self.file = file
        self.problems = tuple(problems)
        self._taken = tuple(taken)

    def lines(self) -> list[str]:
        """Return one line of text per problem: where the key was set, the key, and what is allowed."""
        return [_in_one_line(f"{self._place(problem)}: {problem}") for problem in self.problems]

    def _place(self, problem: Problem) -> str:
        variables = (one.variable for one in self._taken if problem.path[: len(one.path)] == one.path)
        return next(variables, self.file)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _in_one_line(text: str) -> str:
    """Make a line of what may quote anything: no line breaks, nothing that a terminal obeys, and an end."""
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[: _LONGEST_LINE // 2]} … {shown[-_LONGEST_LINE // 4 :]}"


def load(
    text: str,
    *,
    file: str = "config",
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    check_endpoint: Callable[[str], object] = lambda description: None,
    check_files: Callable[[Settings], Iterable[Problem]] = lambda settings: (),
) -> Settings:
    """Read a config file.

    :param text: its TOML.
    :param file: its name, for messages.
    :param environ: values for ``${VAR}``, and keys that the file doesn't set.
    :param overrides: top-level keys that the command line sets instead.
    :param check_endpoint: raises :class:`ValueError` when an endpoint description is malformed.
    :param check_files: finds what is wrong with the files that the settings name.
    :raise ConfigErrors: with everything that is wrong.
    """
    try:
        raw = tomltext.parse(text)
    except tomltext.NotToml as error:
        raise ConfigErrors(file, [Problem((), f"not TOML: {error}")]) from None
    problems: list[Problem] = []
    expanded = _expand(raw, (), environ, problems)
    data, taken = with_environment(environ, expanded, problems)
    data |= overrides or {}
    if "upstreams" in data:
        data["upstreams"] = with_defaults(data["upstreams"], problems)
    if (proxy := with_proxy_of(environ, data.get("proxy"), problems)) is not None:
        data["proxy"] = proxy
    settings = _validate(data, problems)
    problems += _bad_endpoints(settings, check_endpoint)
    damaged = {problem.path[0] for problem in problems if problem.path}
    further = [*contradictions(settings), *check_files(settings)]
    problems += [found for found in further if not damaged & {path[0] for path in found.paths if path}]
    if problems:
        raise ConfigErrors(file, problems, taken)
    return settings


def _expand(value: Any, path: Path, environ: Mapping[str, str], problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {name: _expand(item, (*path, name), environ, problems) for name, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*path, index), environ, problems) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if environ.get(match[1]) == "" and path and _is_secret(path):
            problems.append(Problem(path, f"the environment variable {match[1]} is empty, and so would a secret be"))
        if match[1] not in environ:
            problems.append(Problem(path, f"the environment variable {match[1]} is not set (write $$ for a single $)"))
        return in_unicode(match[1], environ.get(match[1], "unset"), path, problems)

    return _VARIABLE.sub(replacement, value)


def _is_secret(path: Path) -> bool:
    return next((step for step in reversed(path) if isinstance(step, str)), "") in _SECRETS


def _validate(data: dict[str, Any], problems: list[Problem]) -> Settings:
    """Validate, noting problems; sections that have any are replaced by their defaults in what is returned."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        noted = {problem.path for problem in problems}
        found = [_problem(dict(details), data) for details in error.errors(include_url=False)]
        problems += [problem for problem in found if problem.path not in noted]
        damaged = {problem.path[0] for problem in found}
        return Settings.model_validate({name: value for name, value in data.items() if name not in damaged})


def _problem(details: dict[str, Any], data: object) -> Problem:
    model, path = _locate(details["loc"], data)
    kind, message = details["type"], details["msg"]
    if kind == "extra_forbidden":
        message = _unknown_key(str(path[-1]), model)
    elif kind == "value_error":
        message = message.removeprefix("Value error, ")
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        context = details["ctx"]
        path = (*path, context["discriminator"].strip("'"))
        message = f"must be one of {', '.join(sorted(union_members(model)))}"
    elif kind == "literal_error":
        message = f"must be {details['ctx']['expected']}"
    elif kind == "greater_than_equal":
        message = f"must be at least {details['ctx']['ge']}"
    elif kind == "less_than_equal":
        message = f"must be at most {details['ctx']['le']}"
    else:
        message = _TYPE_NAMES.get(kind, message)
    return Problem(path, message)


def _unknown_key(name: str, model: object) -> str:
    known = sorted(_aliases(model))
    close = get_close_matches(name, known, n=1) or get_close_matches(name.replace("_", "-").lower(), known, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f"unknown key; {hint}allowed here: {', '.join(known)}"


def _aliases(model: object) -> Iterator[str]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield field.alias or name


def _locate(location: Sequence[str | int], data: object) -> tuple[object, Path]:
    """Follow pydantic's location, which also names union members, to the model around its last element.

    :return: that model (or annotation), and the path that the file's reader knows.
    """
    around: object = Settings
    current: object = Settings
    path: list[str | int] = []
    for step in location:
        if step == "[key]":
            break
        current = unannotated(current)
        member = union_members(current).get(str(step)) if not isinstance(step, int) else None
        if member is not None:
            current = member
            continue
        path.append(step)
        around = current
        current = _inside(current, step)
    return (current if union_members(unannotated(current)) else around), tuple(path)


def _inside(annotation: object, step: str | int) -> object:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        return fields.get(str(step))
    arguments = get_args(annotation)
    if not arguments:
        return None
    return arguments[0] if isinstance(step, int) else arguments[-1]


def _bad_endpoints(settings: Settings, check: Callable[[str], object]) -> Iterator[Problem]:
    places: list[tuple[Path, str]] = [(("listen", index), text) for index, text in enumerate(settings.listen)]
    if settings.manhole.listen is not None:
        places.append((("manhole", "listen"), settings.manhole.listen))
    for path, description in places:
        try:
            if reason := numbers_complaint(description):
                raise ValueError(reason)
            check(description)
        except Exception as error:
            # Endpoint parsers are plugins and raise what they like.
            yield Problem(path, f'"{description}" is not a Twisted endpoint: {error}')


def with_proxy_of(environ: Mapping[str, str], given: object, problems: list[Problem]) -> object:
    """Add what ``https_proxy`` and ``no_proxy`` say to a ``[proxy]`` table that has no URL, as curl and git read them.

    :param environ: the environment.
    :param given: the table as it was read, None when there is none.
    :param problems: gets what is wrong.
    """
    if given is not None and not (isinstance(given, Mapping) and "url" not in given):
        return given
    named = next((name for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") if environ.get(name)), None)
    if named is None:
        return given
    url = environ[named].strip()
    url = url if "://" in url else f"http://{url}"
    if reason := proxy_complaint(url):
        problems.append(Problem(("proxy", "url"), f"the environment variable {named} {reason}"))
        return given
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    direct = in_unicode("no_proxy", direct, ("proxy", "no-proxy"), problems)
    found: dict[str, Any] = {"url": url}
    if entries := [entry.strip() for entry in direct.split(",") if entry.strip()]:
        found["no-proxy"] = entries
    return found | dict(given or {})
