"""The lines of git's configuration that send a machine's git by way of a server (pure), and how ours are told."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
"""What a server serves when nothing else is said."""
ALLOWED = "protocol.cachew.allow"
FAST = "cachew::"
_REWRITING = re.compile(r"url\.(?:cachew::)?(https?://.+?/git/([^/]+)/)\.insteadof")
_CREDENTIAL = re.compile(r"credential\.https?://.+?/git/[^/]+/\.helper")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_MARK = "cachew_ask()"
_HELPER = (
    "!" + _MARK + " { case $1 in get) verb=fill ;; store) verb=approve ;; erase) verb=reject ;; *) return ;; esac;"
    " { echo protocol=https; echo host=%s; grep -E '^(username|password)='; } | git credential $verb; }; cachew_ask"
)


@dataclass(frozen=True)
class Setting:
    """One line of configuration.

    :param name: of the setting.
    :param value: what it says.
    """

    name: str
    value: str


def is_host(name: str) -> bool:
    """Tell whether a word is a host's name, with its port or without."""
    return bool(_HOST.fullmatch(name))


def settings(server: str, hosts: Iterable[str], *, fast: bool) -> list[Setting]:
    """Return the lines for a server.

    :param server: its base URL.
    :param fast: whether clones take the helper's way.
    """
    lines = [Setting(ALLOWED, "always")] if fast else []
    for host in hosts:
        base = f"{server}/git/{host}/"
        lines.append(Setting(f"url.{FAST if fast else ''}{base}.insteadOf", f"https://{host}/"))
        # Whoever has said for the host itself who he is need not say it again for the server's address.
        lines.append(Setting(f"credential.{base}.helper", _HELPER % host))
    return lines


def ours(known: Iterable[tuple[str, str]], *, hosts: Iterable[str] = ()) -> list[Setting]:
    """Return those of a file's settings that :func:`settings` has made, whatever server they are for.

    A line that somebody has written himself looks the same, but has no credential's line of ours beside it.

    :param known: all settings of the file, names as git prints them.
    :param hosts: whose lines are to be replaced, whoever has written them: of two, git takes the first.
    """
    known = list(known)
    places = {name[len("credential.") : -len(".helper")] for name, value in known if _is_credential(name, value)}
    replaced = {f"https://{host}/" for host in hosts}
    found = [
        Setting(name, value)
        for name, value in known
        if _is_credential(name, value) or (_rewritten_to(name, value) in places) or _replaces(name, value, replaced)
    ]
    left = [name for name, value in known if name.startswith(f"url.{FAST}") and Setting(name, value) not in found]
    allowed = [Setting(name, value) for name, value in known if name == ALLOWED and value == "always"]
    return [*found, *([] if left or not found else allowed)]


def servers(known: Iterable[tuple[str, str]]) -> list[str]:
    """Return the base URLs of the servers that settings name."""
    matches = (_REWRITING.fullmatch(name) for name, _ in known)
    return list(dict.fromkeys(match[1].partition("/git/")[0] for match in matches if match))


def _rewritten_to(name: str, value: str) -> "str | None":
    """Return which repositories of a server a line sends their host's to, None when it does not."""
    match = _REWRITING.fullmatch(name)
    return match[1] if match is not None and value == f"https://{match[2]}/" else None


def _replaces(name: str, value: str, replaced: set[str]) -> bool:
    return value in replaced and _rewritten_to(name, value) is not None


def _is_credential(name: str, value: str) -> bool:
    return bool(_CREDENTIAL.fullmatch(name)) and value.startswith(f"!{_MARK}")
