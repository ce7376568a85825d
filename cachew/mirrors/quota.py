"""Which mirrors go when they are too many or too old (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass

from cachew.mirrors.identity import Identity


@dataclass(frozen=True)
class MirrorUse:
    """A mirror on disk.

    :param identity: which.
    :param size: bytes that it occupies.
    :param used: when it was last asked for, in epoch seconds.
    """

    identity: Identity
    size: int
    used: float


@dataclass(frozen=True, kw_only=True)
class MirrorBounds:
    """What all mirrors together are bounded by.

    :param limit: bytes that they may occupy; 0 for no bound.
    :param forget_after: seconds after which an unused one goes; 0 for never.
    """

    limit: int = 0
    forget_after: float = 0.0


def superfluous(mirrors: Iterable[MirrorUse], now: float, *, limit: int, forget_after: float) -> list[Identity]:
    """Return the mirrors that should go, the one least recently used first.

    :param limit: bytes that all may occupy; 0 for no bound. The one used last always stays.
    :param forget_after: seconds after which one that nobody asks for goes; 0 for never.
    """
    oldest_first = sorted(mirrors, key=lambda kept: kept.used)
    total = sum(kept.size for kept in oldest_first)
    going = []
    for kept in oldest_first:
        expired = forget_after > 0 and now - kept.used > forget_after
        too_much = 0 < limit < total and kept is not oldest_first[-1]
        if expired or too_much:
            going.append(kept.identity)
            total -= kept.size
    return going
