"""Which archives there can be of one repository, and what each is called in the cache (pure)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import BadRequest

NAMESPACE = "git"
"""Where in the cache everything is that is made of mirrors."""

SNAPSHOT, LFS, MIRROR = "snapshot", "lfs-snapshot", "mirror"
FILTERS = ("blob:none",)
_BRANCHES = "refs/heads/"
_LONGEST_REF = 512
_BYTE = re.compile(r"\\x([0-9a-f]{2})")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")


@dataclass(frozen=True, order=True)
class Variant:
    """One archive of a repository.

    :param kind: ``snapshot``, ``lfs-snapshot`` or ``mirror``.
    :param ref: the branch that is checked out, its full name; empty for HEAD's.
    :param filter: the partial clone filter; empty for a complete repository.
    """

    kind: str = SNAPSHOT
    ref: str = ""
    filter: str = ""

    def key(self, instance: Instance) -> str:
        """Return its key in the cache."""
        return f"{self.kind}:{instance.name}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What tells it from the plain archive of its kind; neither part can contain a space."""
        return (f" ref={_escaped(self.ref)}" if self.ref else "") + (f" filter={self.filter}" if self.filter else "")

    @property
    def name(self) -> str:
        """What logs and the schedule's memory call it."""
        return self.kind + self.suffix


def from_query(query: Mapping[str, str]) -> Variant:
    """Return the variant of a snapshot that a request's query asks for.

    :raise BadRequest: when it names something that is no branch or a filter that isn't offered.
    """
    ref, chosen = query.get("ref", ""), query.get("filter", "")
    if ref:
        check_branch(ref)
    if chosen and chosen not in FILTERS:
        raise BadRequest(f"filter must be one of: {', '.join(FILTERS)}")
    return Variant(SNAPSHOT, ref, chosen)


def from_name(name: str) -> Variant:
    """Read what :attr:`Variant.name` gave.

    :raise ValueError: when it didn't.
    """
    kind, *parts = name.split(" ")
    fields = dict(part.split("=", 1) for part in parts)
    if kind not in (SNAPSHOT, LFS, MIRROR) or fields.keys() - {"ref", "filter"}:
        raise ValueError(f"not the name of an archive: {name!r}")
    return Variant(kind, _unescaped(fields.get("ref", "")), fields.get("filter", ""))


def _escaped(ref: str) -> str:
    """Return a ref's name as text that can be stored: bytes that are no UTF-8 as ``\\xNN``, which no name contains."""
    return ref.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _unescaped(text: str) -> str:
    """Read what :func:`_escaped` gave."""
    return _BYTE.sub(lambda match: bytes.fromhex(match[1]).decode("utf-8", "surrogateescape"), text)


def check_branch(ref: str) -> None:
    """Refuse what isn't the full name of a branch, see git-check-ref-format(1).

    :raise BadRequest: when it isn't.
    """
    name = ref.removeprefix(_BRANCHES)
    malformed = _FORBIDDEN.search(ref) or name.startswith(".") or ref.endswith(("/", "."))
    if name == ref or not name or malformed or len(ref) > _LONGEST_REF:
        raise BadRequest("ref must be the full name of a branch, such as refs/heads/main")
