"""The hosts that are served unless the config says otherwise: what it names comes on top of them (pure)."""

from collections.abc import Iterator, Mapping
from typing import Any

from cachew.config.contradictions import Problem

HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
"""Served from the start; each goes with ``"HOST" = false``, all of them with ``defaults = false``."""

_SECTION = "upstreams"
_KEY = "defaults"
_MEANT = "must be true or false"


def with_defaults(given: object, problems: list[Problem]) -> object:
    """Add the default hosts to the ``[upstreams]`` of a config file.

    :param given: the table as it was read; what is no table is left to those who validate it.
    :param problems: gets what is wrong.
    :return: a table of tables.
    """
    if not isinstance(given, Mapping):
        return given
    tables = dict(_undotted(given))
    wanted = tables.pop(_KEY, True)
    if not isinstance(wanted, bool):
        problems.append(Problem((_SECTION, _KEY), _MEANT))
    switched = {name: value for name, value in tables.items() if isinstance(value, bool)}
    for name in switched.keys() - set(HOSTS):
        problems.append(Problem((_SECTION, name), f"must be a table; true and false are for {', '.join(HOSTS)}"))
    left = [host for host in HOSTS if switched.get(host, wanted)]
    found = {host: {} for host in left} | {name: value for name, value in tables.items() if name not in switched}
    if not found:
        problems.append(
            Problem((_SECTION,), "names no host, and leaves none of the default ones: nothing would be served")
        )
    return found


def _undotted(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries; ``github.com = false`` without quotes is a key ``com`` in a table ``github`` to TOML."""
    for name, value in given.items():
        hosts = {host for host in HOSTS if host.partition(".")[0] == name}
        if hosts and isinstance(value, Mapping):
            for end, inner in value.items():
                yield f"{name}.{end}", inner
        else:
            yield name, value
