"""Patterns that stand for many repositories of one owner: ``github.com/org/*`` (pure)."""

import re
from dataclasses import dataclass

from cachew.plumbing.errors import BadPath

ALL_BELOW = "**"
"""Stands for all repositories of a group and of the groups in it."""


@dataclass(frozen=True)
class NamePattern:
    """Repositories of one owner.

    :param host: where.
    :param owner: whose; groups may lie in groups.
    :param name: what their names are like, with ``*`` for any part of one.
    """

    host: str
    owner: str
    name: str

    @property
    def below(self) -> bool:
        """Whether repositories of groups in the group are meant too."""
        return self.name == ALL_BELOW

    def matches(self, path: str) -> bool:
        """Whether a repository at this path of the host is meant; forges may write the owner in another case."""
        owner = path[: len(self.owner)]
        if owner.lower() != self.owner.lower() or path[len(self.owner) : len(self.owner) + 1] != "/":
            return False
        name = path[len(self.owner) + 1 :]
        return self.below or re.fullmatch(self._expression, name) is not None

    @property
    def _expression(self) -> str:
        return "[^/]*".join(map(re.escape, self.name.split("*")))


def is_pattern(name: str) -> bool:
    """Whether a name stands for many."""
    return "*" in name


def pattern_of(text: str) -> NamePattern:
    """Read ``host/owner/name*``.

    :raise BadPath: when it is none; only the last segment may have a ``*``.
    """
    host, _, rest = text.partition("/")
    owner, _, name = rest.rpartition("/")
    if not host or not owner or not name or "*" in host + owner:
        raise BadPath("only what comes after the last / may have a *, and an owner before it is needed")
    if "**" in name and name != ALL_BELOW:
        raise BadPath("** stands for a whole name only")
    return NamePattern(host.lower(), owner, name)
