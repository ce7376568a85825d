"""What is known of how upstreams want repositories to be spelled, without files and replicas."""

from collections.abc import Callable
from typing import Any, cast

from cachew.plumbing.background import Background
from cachew.upstream.spellings import Spellings


class Unshared:
    """A server that has no replicas."""

    async def read(self, name: str) -> dict[str, Any]:
        """Return nothing."""
        return {}

    async def write(self, name: str, found: dict[str, str]) -> None:
        """Tell nobody."""


def spellings(clock: Any, fixed: Callable[[str], str | None] = lambda url: None) -> Spellings:
    """Return what nothing is known of yet.

    :param fixed: what the config says of a URL.
    """
    return Spellings(
        fixed=fixed,
        path=None,
        shared=Unshared(),
        reactor=clock,
        clock=clock,
        in_thread=cast(Any, None),
        background=Background(),
    )


def spelled_as_asked(clock: Any) -> Spellings:
    """Return what has every repository asked for as it is written."""
    return spellings(clock, lambda url: "")
