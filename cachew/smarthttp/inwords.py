"""What of a repository is asked for, in a few words for the request log (pure).

Nothing in them lets anybody in, they are of bounded length, and no client can break the line with them.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from cachew.smarthttp.clientcommands import Fetch, GitCommand, Probe, V2LsRefs, V2Other

_KEYS = (b"service", b"base", b"ref", b"filter")
_NAMED = 3
_LONGEST = 100


def of_query(arguments: Mapping[bytes, list[bytes]], version: int) -> str:
    """Return what a request's query asks for.

    :param arguments: the query's fields.
    :param version: the protocol's, which counts for ref listings.
    """
    words = [f"{key.decode()}={_safe(arguments[key][0])}" for key in _KEYS if arguments.get(key)]
    return " ".join([*words, f"v{version}"] if b"service" in arguments else words)


def of_command(command: GitCommand) -> str:
    """Return what the body of ``git-upload-pack`` asks for."""
    if isinstance(command, Probe):
        return "probe"
    if isinstance(command, V2LsRefs):
        return " ".join(["ls-refs", *_some(command.prefixes)])
    if isinstance(command, V2Other):
        return _safe(command.name)
    return _of_fetch(command)


def _of_fetch(command: Fetch) -> str:
    words = ["fetch", f"v{command.version}", f"wants={len(command.wants)}", f"haves={command.haves}"]
    words += [f"want-ref={name}" for name in _some(getattr(command, "want_refs", ()))]
    words += [f"{name}={_safe(value)}" for name, value in command.limits]
    return " ".join(words if command.done else [*words, "negotiates"])


def _some(names: Iterable[str]) -> list[str]:
    """Return the first names, and how many there are besides."""
    known = list(names)
    more = [f"+{len(known) - _NAMED}"] if len(known) > _NAMED else []
    return [*map(_safe, known[:_NAMED]), *more]


def _safe(text: str | bytes) -> str:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return quote(data[:_LONGEST], safe="/:=,@+")
