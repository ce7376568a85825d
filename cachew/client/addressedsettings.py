"""All values of one of git's settings for addresses that count for an address (pure).

``git config --get-urlmatch`` tells the last one only, while git sends every ``http.extraHeader``. Which count, says
git-config(1), ``http.<url>.*``: of a wider place's those that come before a narrower place's.
"""

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
_Rank = tuple[int, int, bool]
_ANYWHERE: _Rank = (0, 0, False)


def values_for(name: str, url: str, settings: Iterable[tuple[str, str]]) -> list[str]:
    """Return the values of ``http.NAME`` for an address.

    :param name: in lower case.
    :param settings: all of git's, in its order, names as ``git config --list`` prints them.
    """
    best, found, asked = _ANYWHERE, list[str](), urlsplit(url)
    for key, value in settings:
        section, _, last = key.rpartition(".")
        if last != name or not (section == "http" or section.startswith("http.")):
            continue
        rank = _rank(section.partition(".")[2], asked)
        if rank is not None and rank >= best:
            best = rank
            found.append(value)
    return found


def _rank(place: str, asked: SplitResult) -> "_Rank | None":
    """Return how narrowly a place fits an address, None when it does not."""
    if not place:
        return _ANYWHERE
    try:
        parts = urlsplit(place)
        same = (parts.scheme, _port(parts)) == (asked.scheme, _port(asked))
    except ValueError:
        return None
    path = parts.path.rstrip("/")
    fits = same and _is_host(parts.hostname or "", asked.hostname or "") and f"{asked.path}/".startswith(f"{path}/")
    if not fits or parts.username not in (None, asked.username):
        return None
    return len(parts.hostname or ""), len(path) + 1, parts.username is not None


def _port(parts: SplitResult) -> "int | None":
    return parts.port or _PORTS.get(parts.scheme)


def _is_host(pattern: str, host: str) -> bool:
    """Tell whether a host is meant: a label of a pattern may be ``*``."""
    pairs = list(zip(pattern.split("."), host.split(".")))  # noqa: B905 (Python 3.9)
    return pattern.count(".") == host.count(".") and all(want in ("*", label) for want, label in pairs)
