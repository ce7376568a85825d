"""Which proxy the environment names for a server."""

import os
import sys
from collections.abc import Callable
from urllib.parse import SplitResult


def environment_proxy(configured: "str | None" = None) -> Callable[[SplitResult], "str | None"]:
    """Return what tells the URL of the proxy for a server, None for none.

    :param configured: what git's ``http.proxy`` says, which comes before the environment; empty for no proxy.
    """
    named = any(name.lower().endswith("_proxy") for name in os.environ)
    if not named and (configured is not None or sys.platform not in ("darwin", "win32")):
        return lambda server: configured or None
    from urllib.request import getproxies, proxy_bypass

    def proxy(server: SplitResult) -> "str | None":
        if proxy_bypass(server.netloc):
            return None
        return getproxies().get(server.scheme) if configured is None else configured or None

    return proxy
