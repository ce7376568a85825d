"""Where the server's own credentials come from: a setting, a file, a netrc, a command.

Files are read each time they are needed, so that a rotated secret is taken up without a restart.
"""

import netrc
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cachew.plumbing.child import Command
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CredentialUnavailable, ProcessFailed, TooLarge
from cachew.plumbing.process import Processes
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared
from cachew.plumbing.threads import InThread

ANYONE = "x-access-token"
"""The user name that goes with a token where the name doesn't matter (GitHub's, and ignored by most others)."""

_DIGITS = 18
"""Of a time in seconds, more than anybody's."""
KEPT = 300.0
"""Seconds for which a command's answer is used when it names no expiry."""


def basic(username: str, password: str) -> str:
    """Return a Basic ``Authorization`` value (RFC 7617)."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")


class StaticToken:
    """A token from a setting.

    :param token: the token.
    :param username: the user name that goes with it; empty sends it as Bearer.
    """

    def __init__(self, *, token: str, username: str = ANYONE) -> None:
        self._header = _of_token(token, username)

    async def header_for(self, url: str) -> str | None:
        """Return the value."""
        return self._header


class TokenCredentialFile:
    """A token in a file of its own.

    :param path: the file; white space around the token doesn't count.
    :param username: the user name that goes with it; empty sends it as Bearer.
    :param in_thread: runs the reading.
    """

    def __init__(self, *, path: Path, in_thread: InThread, username: str = ANYONE) -> None:
        self._path = path
        self._in_thread = in_thread
        self._username = username

    async def header_for(self, url: str) -> str | None:
        """Return the value.

        :raise CredentialUnavailable: when the file can't be read or is empty.
        """
        try:
            token = (await self._in_thread(self._path.read_text)).strip()
            return _of_token(token, self._username)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "holds no usable token"
            raise CredentialUnavailable(url, f"the server's token file {self._path}: {reason}") from None


class NetrcFile:
    """A netrc file's entry for the URL's host; its ``default`` entry is never used.

    :param path: the file.
    :param in_thread: runs the reading.
    """

    def __init__(self, *, path: Path, in_thread: InThread) -> None:
        self._path, self._in_thread = path, in_thread

    async def header_for(self, url: str) -> str | None:
        """Return the value, None when the host has no entry.

        :raise CredentialUnavailable: when the file can't be read.
        """
        host = urlsplit(url).hostname or ""
        try:
            found = await self._in_thread(_netrc_entry, self._path, host)
        except OSError as error:
            raise CredentialUnavailable(url, f"the server's netrc file {self._path}: {error.strerror}") from None
        except (netrc.NetrcParseError, ValueError):
            # its own message quotes the file, secrets included
            raise CredentialUnavailable(url, f"the server's netrc file {self._path} is malformed") from None
        return None if found is None else basic(*found)


class CredentialCommand:
    """A git credential command, asked with ``get`` as gitcredentials(7) describes.

    :param argv: the command, with or without ``get`` at its end.
    :param environment: its environment.
    :param processes: runs it.
    :param clock: what time it is.
    :param timeout: seconds that it may take.
    """

    def __init__(
        self,
        *,
        argv: Sequence[str],
        environment: Mapping[str, str],
        processes: Processes,
        clock: Clock,
        timeout: float = 10.0,
    ) -> None:
        self._command = Command((*argv, *([] if argv[-1] == "get" else ["get"])), dict(environment))
        self._processes = processes
        self._clock = clock
        self._timeout = timeout
        self._answers: Expiring[str, str] = Expiring(clock=clock, by_date=True, capacity=1000)
        self._questions: Shared[str, str | None] = Shared()

    async def header_for(self, url: str) -> str | None:
        """Return the value, None when the command knows none.

        :raise CredentialUnavailable: when it fails.
        """
        return self._answers.get(url) or await self._questions.run(url, lambda: self._ask(url))

    async def forget(self, url: str, header: str) -> bool:
        """Have the command asked anew, because the upstream has refused what it said."""
        if self._answers.get(url) == header:
            self._answers.forget(url)
        return False

    async def _ask(self, url: str) -> str | None:
        parts = urlsplit(url)
        question = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n\n"
        try:
            done = await self._processes.run(
                self._command, stdin=question.encode(), timeout=self._timeout, limit=64 * 1024, waits=True
            )
        except ProcessFailed as failure:
            raise CredentialUnavailable(url, f"the server's credential command {_ending(failure)}") from None
        except TooLarge:
            raise CredentialUnavailable(url, "the server's credential command said too much") from None
        said = dict(line.split("=", 1) for line in done.stdout.decode("utf-8", "replace").split("\n") if "=" in line)
        if "username" not in said or not said.get("password"):
            return None
        header = basic(said["username"], said["password"])
        self._answers.put(url, header, self._lifetime(said.get("password_expiry_utc", "")))
        return header

    def _lifetime(self, expiry: str) -> float:
        return min(KEPT, int(expiry[:_DIGITS]) - self._clock.now() - 30) if expiry.isdecimal() else KEPT


def _ending(failure: ProcessFailed) -> str:
    return "was ended by a signal" if failure.code is None else f"ended with {failure.code}"


def _netrc_entry(path: Path, host: str) -> tuple[str, str] | None:
    with path.open("rb"):  # netrc() explains a missing file less well
        pass
    entry = netrc.netrc(str(path)).hosts.get(host) if host != "default" else None
    return None if entry is None or not entry[2] else (entry[0] or "", entry[2])


def _of_token(token: str, username: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("not a usable token")
    return basic(username, token) if username else f"Bearer {token}"
