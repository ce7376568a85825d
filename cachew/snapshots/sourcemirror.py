"""Mirrors that snapshots are made of."""

from collections.abc import Awaitable, Callable

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import Superseded

FindMirror = Callable[[Identity], Mirror | None]
"""Gives the mirror of a repository if it is ready now."""

ReadyMirror = Callable[[Identity], Awaitable[Mirror]]
"""Gives the mirror of a repository, made first if there is none; raises what kept it from being made."""


def require(mirror: Mirror, instance: Instance) -> None:
    """See that what is made of a mirror is of an instance.

    :raise Superseded: when it is of another one.
    """
    if mirror.instance != instance:
        raise Superseded(f"{instance.identity.name} has become another repository")
