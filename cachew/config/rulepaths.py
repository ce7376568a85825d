"""Whether the paths and hosts that a config names can be those of any request (pure)."""

from contextlib import suppress

from cachew.mirrors.identity import Identity, parse_decoded
from cachew.plumbing.errors import BadPath, UnknownPath
from cachew.plumbing.percent import decoded_text

_ROUTES = ("", "git", "api", "admin", "metrics", "webhook", "client", "_liveness", "_readiness")
"""The first segments of the paths that are served."""


def no_route(path: str) -> str:
    """Say why no request has a path that begins so, nothing when some may."""
    wanted = decoded_text(path)
    first, *rest = wanted.removeprefix("/").split("/")
    if not path.startswith("/") or first not in _ROUTES:
        return f"must begin with one of {', '.join(f'/{route}' for route in _ROUTES)}"
    host = rest[0] if first == "git" and rest else ""
    if host != host.lower() or host.endswith(":443"):
        return f'must name the host as cachew does, in lower case and without the usual port, not "{host}"'
    if host and (reason := no_host(host)):
        return f'must name a host, of which there are no patterns, not "{host}": {reason}'
    if first == "git" and _has_suffix(wanted.rstrip("/")):
        return 'must name the repository as cachew does, without ".git"'
    return ""


def no_host(name: str) -> str:
    """Say why no repository is at a host of this name, nothing when one may be."""
    try:
        Identity.from_decoded(f"{name}/x")
    except BadPath as error:
        return str(error)
    return ""


def _has_suffix(path: str) -> bool:
    """Say whether a repository's name ends in ``.git``, whatever of it is asked for; LFS has operations below."""
    if path.endswith(".git"):
        return True
    for below in ("", "/objects/batch"):
        with suppress(BadPath, UnknownPath):
            return bool(parse_decoded(path + below).written)
    return False
