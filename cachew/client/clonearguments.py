"""What of ``git clone``'s arguments is the repository (pure). See git-clone(1)."""

import re
from collections.abc import Sequence

_WITH_VALUE = frozenset(
    (
        *("-o", "--origin", "-b", "--branch", "-u", "--upload-pack", "-c", "--config", "-j", "--jobs"),
        *("--reference", "--reference-if-able", "--template", "--depth", "--shallow-since", "--shallow-exclude"),
        *("--separate-git-dir", "--server-option", "--filter", "--bundle-uri", "--ref-format", "--revision"),
    )
)
_SHORT_WITH_VALUE = re.compile(r"-[lnqsv46]+[obucj]")
"""Short options in one word, of which the last one's value is the next."""


def repository_of(words: Sequence[str]) -> str | None:
    """Return the first argument that is neither an option nor an option's value; None when there is none."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            return next(rest, None)
        if word in _WITH_VALUE or _SHORT_WITH_VALUE.fullmatch(word):
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None
