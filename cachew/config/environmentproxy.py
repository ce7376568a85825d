"""The proxy that the environment names, where the config names none (pure)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cachew.config.contradictions import Problem


def with_proxy_of(environ: Mapping[str, str], given: object, problems: list[Problem]) -> object:
    """Add what ``https_proxy`` and ``no_proxy`` say to a ``[proxy]`` table that has no URL, as curl and git read them.

    :param environ: the environment.
    :param given: the table as it was read, None when there is none.
    :param problems: gets what is wrong.
    """
    if given is not None and not (isinstance(given, Mapping) and "url" not in given):
        return given
    named = next((name for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") if environ.get(name)), None)
    if named is None:
        return given
    url = environ[named] if "://" in environ[named] else f"http://{environ[named]}"
    if "@" in urlsplit(url).netloc:
        reason = f"the environment variable {named} holds a password; write url and credentials-file in its place"
        problems.append(Problem(("proxy", "url"), reason))
        return given
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    found: dict[str, Any] = {"url": url}
    if entries := [entry.strip() for entry in direct.split(",") if entry.strip()]:
        found["no-proxy"] = entries
    return found | dict(given or {})
