"""Which names of refs git surely takes, and can keep as files (pure)."""

from collections.abc import Collection

SUSPICIOUS = (b"..", b"@{", b"//", b"/.", b"/\n", b"\n/", b"\n.", b".\n", b"\n\n", b".lock/", b".lock\n")
"""What a text of names, each between two newlines, holds when one of them may not be valid; an empty one counts."""
LONGEST = 250
"""Bytes of a part of a name beyond which it is no file name any more once git has put ``.lock`` after it."""
LONGEST_NAME = 2000
DEEPEST = 250
"""Directories above a ref: whatever walks through these, Python's own functions too, goes into them one by one."""


def surely_valid(names: Collection[bytes]) -> bool:
    """Whether git surely takes names that hold no forbidden byte; such as it takes nevertheless may be refused."""
    text = b"\n".join((b"", *names, b""))
    return bool(names) and not any(part in text for part in SUSPICIOUS) and all_fit(names)


def all_fit(names: Collection[bytes]) -> bool:
    """Whether all of some names can be kept as files; those that are as short as nearly all are cost nothing."""
    return max(map(len, names), default=0) <= LONGEST or all(map(_fits, names))


def _fits(name: bytes) -> bool:
    if len(name) <= LONGEST:
        return True
    parts = name.split(b"/") if len(name) <= LONGEST_NAME else []
    return 0 < len(parts) <= DEEPEST + 1 and max(map(len, parts)) <= LONGEST
