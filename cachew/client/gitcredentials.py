"""Credentials for a server that asks for some: from where git itself would take them.

Nobody should have to configure this command where ``git clone`` through the same server works: an ``http.extraHeader``
of the server's address, the netrc, then git's credential helpers, which also hear how it went (git-credential(1)).
"""

from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cachew.client.addressedsettings import values_for
from cachew.client.gitcommand import Git
from cachew.client.httpsettings import read

_ANYWHERE = Path("/")


class Offer(NamedTuple):
    """A credential that may be good.

    :param authorization: what the ``Authorization`` header says.
    :param secrets: what of it no message may show.
    :param tell: is told whether it was good.
    """

    authorization: str
    secrets: tuple[str, ...]
    tell: Callable[[bool], object] = lambda good: None


class GitCredentials:
    """Finds credentials as git does.

    :param git: the git program.
    :param home: the user's home directory, None when there is none.
    :param user: whose credentials are asked for, empty for anybody's.
    :param learnt: is told what no message may show, before it is given.
    """

    def __init__(
        self, *, git: Git, home: Path | None, user: str = "", learnt: Callable[[str], object] = lambda secret: None
    ) -> None:
        self._git = git
        self._home = home
        self._user = user
        self._learnt = learnt

    def offers(self, url: str, challenge: str) -> Iterator[Offer]:
        """Give credentials for a URL, the next one only when the one before was no good.

        :param challenge: what the server's ``WWW-Authenticate`` says.
        """
        host = urlsplit(url).hostname or ""
        for offer in chain(self._configured(url), self._in_netrc(host), self._from_helpers(url, challenge)):
            for secret in offer.secrets:
                self._learnt(secret)
            yield offer

    def _configured(self, url: str) -> Iterator[Offer]:
        lines = values_for("extraheader", url, self._git.listed(_ANYWHERE))
        value = read([("http.extraheader", line) for line in lines], {}).authorization
        if value:
            yield Offer(value, (value.rpartition(" ")[2],))

    def _in_netrc(self, host: str) -> Iterator[Offer]:
        if self._home is None:
            return
        import netrc  # which those who are let in need not wait for

        try:
            found = netrc.netrc(str(self._home / ".netrc")).authenticators(host)
        except (OSError, netrc.NetrcParseError, UnicodeError, ValueError):
            return
        if found is not None and found[2]:
            yield _basic(found[0], found[2])

    def _from_helpers(self, url: str, challenge: str) -> Iterator[Offer]:
        parts = urlsplit(url)
        asked = {"protocol": parts.scheme, "host": parts.netloc, "path": parts.path.strip("/")}
        if self._user:
            asked["username"] = self._user
        if challenge:
            asked["wwwauth[]"] = challenge
        done = self._credential("fill", _written(asked))
        said = dict(line.partition("=")[::2] for line in done.decode("utf-8", "surrogateescape").split("\n") if line)
        username, password = said.get("username", ""), said.get("password", "")
        if password:
            told = done.rstrip(b"\n") + b"\n\n"
            yield _basic(username, password, lambda good: self._credential("approve" if good else "reject", told))

    def _credential(self, verb: str, text: bytes) -> bytes:
        done = self._git.run(_ANYWHERE, "credential", verb, stdin=text, check=False, prompts=True)
        return b"" if done.returncode else done.stdout


def _written(fields: dict[str, str]) -> bytes:
    lines = (f"{name}={value}\n" for name, value in fields.items() if "\n" not in value and "\0" not in value)
    return "".join([*lines, "\n"]).encode("utf-8", "surrogateescape")


def _basic(username: str, password: str, tell: Callable[[bool], object] = lambda good: None) -> Offer:
    pair = b64encode(f"{username}:{password}".encode("utf-8", "surrogateescape")).decode()
    return Offer(f"Basic {pair}", (pair, password), tell)
