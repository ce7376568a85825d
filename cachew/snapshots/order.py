"""What is to be made of a mirror and stored, and how."""

import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachew.mirrors.mirror import Mirror
from cachew.plumbing.framewriter import Sink

Begin = Callable[[Mapping[str, str]], Awaitable[Sink]]
"""Announces the headers of what is made, and gives where its bytes go."""

Make = Callable[[Path, Begin], Coroutine[Any, Any, None]]
"""Makes one thing: in an empty directory of its own; it begins once it can say what it makes."""

ReadyMirrorOf = Callable[[], Awaitable[Mirror]]
"""Gives the mirror that something is made of."""

_INSTANCE = re.compile(" [0-9a-f]{32}(?![0-9a-f])")


@dataclass(frozen=True)
class Order:
    """What is to be made.

    :param key: in the cache.
    :param owner: whose turn it counts as: the repository's name.
    :param make: makes it.
    :param kind: which of the owner's things it is like, as to how long it takes.
    :param requires: awaited before it takes a place among what is being made.
    :param mirror: gives what it is made of, which is verified before and must not have changed by the end.
    :param ttl: seconds that it may be kept; None for as long as the cache keeps things.
    """

    key: str
    owner: str
    make: Make
    kind: str = ""
    requires: Callable[[], Awaitable[object]] | None = None
    ttl: float | None = None
    mirror: ReadyMirrorOf | None = None

    @property
    def title(self) -> str:
        """What logs and clients are told that it is."""
        return title_of(self.key)


def title_of(key: str) -> str:
    """Return a key without the id of the instance, for people."""
    return _INSTANCE.sub("", key)
