"""What of ``git clone``'s arguments is the repository (pure). See git-clone(1)."""

import re
from collections.abc import Iterable, Sequence

from cachew.client.gitconfig import rewritten

_WITH_VALUE = frozenset(
    (
        *("-o", "--origin", "-b", "--branch", "-u", "--upload-pack", "-c", "--config", "-j", "--jobs"),
        *("--reference", "--reference-if-able", "--template", "--depth", "--shallow-since", "--shallow-exclude"),
        *("--separate-git-dir", "--server-option", "--filter", "--bundle-uri", "--ref-format", "--revision"),
    )
)
_SHORT_WITH_VALUE = re.compile(r"-[lnqsv46]+[obucj]")
"""Short options in one word, of which the last one's value is the next."""
_LOGIN = re.compile(r"[^/:@]+@[^/:]+:")


def repository_of(words: Sequence[str]) -> str | None:
    """Return the first argument that is neither an option nor an option's value; None when there is none."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            return next(rest, None)
        if _takes_next(word):
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


def _takes_next(word: str) -> bool:
    """Tell whether the word after an option is its value; git takes the beginning of a long one's name for it."""
    if word.startswith("--"):
        return any(known.startswith(word) for known in _WITH_VALUE)
    return word in _WITH_VALUE or bool(_SHORT_WITH_VALUE.fullmatch(word))


def spelled_out(url: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return the address that a user's short form stands for (``gh:org/repo``), and any other as it is.

    :param rules: of every ``url.BASE.insteadOf = PREFIX``, the base and the prefix.
    """
    found = url if "://" in url else rewritten(url, rules)
    return found if found.startswith(("http://", "https://", "ssh://")) or _LOGIN.match(found) else url
