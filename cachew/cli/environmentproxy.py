"""Which proxy the environment names for a server."""

import os
import sys
from collections.abc import Callable
from urllib.parse import SplitResult


def environment_proxy() -> Callable[[SplitResult], "str | None"]:
    """Return what tells the URL of the proxy for a server, None for none."""
    if not _any_named() and sys.platform not in ("darwin", "win32"):
        return lambda server: None
    from urllib.request import getproxies, proxy_bypass

    return lambda server: None if proxy_bypass(server.netloc) else getproxies().get(server.scheme)


def git_proxy(configured: "str | None") -> Callable[[SplitResult], "str | None"]:
    """Return what tells which proxy git takes for a server, None for none; git does as curl does.

    :param configured: what ``http.proxy`` says, which comes before the environment; empty for no proxy.
    """
    if not _any_named():
        return lambda server: configured or None
    from urllib.request import proxy_bypass

    def proxy(server: SplitResult) -> "str | None":
        if proxy_bypass(server.netloc):
            return None
        return _named_for(server.scheme) if configured is None else configured or None

    return proxy


def _any_named() -> bool:
    return any(name.lower().endswith("_proxy") for name in os.environ)


def _named_for(scheme: str) -> "str | None":
    # HTTP_PROXY may be a header of a request (CGI), and curl does not look at it.
    names = ("http_proxy",) if scheme == "http" else (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    found = (os.environ.get(name) for name in (*names, "all_proxy", "ALL_PROXY"))
    return next((value for value in found if value), None)
