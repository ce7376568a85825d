"""The file that holds the admin token: read at start, and again while the server runs.

A token that was replaced is the new one within seconds. A file that is truncated or gone changes nothing but the log:
the token that was read before goes on until there is a good one. A file of the server's own is written again.
"""

import os
import secrets
from pathlib import Path

from twisted.logger import Logger

from cachew.plumbing.errors import CachewError
from cachew.plumbing.jsonfile import replace_content, set_aside

_SHORTEST_TOKEN = 16


class TokenFileError(CachewError):
    """The admin token's file can't be used."""


class TokenFile:
    """The admin token and its file.

    :param file: the configured file; None for one in the state directory, which is made if need be.
    :param state: the state directory.
    :raise TokenFileError: when there is no token that is long enough to be safe.
    """

    log = Logger()

    def __init__(self, file: Path | None, state: Path) -> None:
        self._path = file or state / "admin-token"
        self._is_ours = file is None
        if self._is_ours:
            _write(self._path, secrets.token_urlsafe(32))
        self._token = self._read_or_replace()
        self._complaint = ""

    def __call__(self) -> str:
        """Return the token that is good now."""
        return self._token

    def look(self) -> None:
        """Read the file again; a file of the server's own that was removed is written again."""
        try:
            if self._is_ours:
                _write(self._path, self._token)
            token = self._read()
        except TokenFileError as error:
            self._complain(str(error))
            return
        except OSError as error:
            # Its own words name a file that is called otherwise each time.
            self._complain(f"{self._path} can't be written: {error.strerror}")
            return
        self._complaint = ""
        if token != self._token:
            self._token = token
            self.log.warn("the admin token in {path} was replaced", path=str(self._path))

    def _complain(self, complaint: str) -> None:
        """Say what is wrong with the file, once; one of the server's own that stays so is written again."""
        if complaint != self._complaint:
            self.log.error("{error}; the token that was read before goes on until it is replaced", error=complaint)
            self._complaint = complaint
        elif self._is_ours:
            # Nobody is in the midst of writing another one.
            try:
                aside = set_aside(self._path)
                _write(self._path, self._token)
            except OSError as error:
                self.log.debug("{path} can't be written again: {error}", path=str(self._path), error=str(error))
            else:
                self.log.error("{path} was written again, it lies in {aside}", path=str(self._path), aside=str(aside))

    def _read_or_replace(self) -> str:
        """Return the token of the file; a damaged one of the server's own is set aside and made anew."""
        try:
            return self._read()
        except TokenFileError as error:
            if not self._is_ours:
                raise
            aside = set_aside(self._path)
            _write(self._path, secrets.token_urlsafe(32))
            self.log.error("{error}; it lies in {aside} now and a new one was made", error=str(error), aside=str(aside))
            return self._read()

    def _read(self) -> str:
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenFileError(f"the admin token in {self._path} can't be read: {error}") from None
        if len(token) < _SHORTEST_TOKEN:
            raise TokenFileError(
                f"the admin token in {self._path} is shorter than {_SHORTEST_TOKEN} characters; "
                "write a longer one there"
            )
        return token


def _write(path: Path, token: str) -> None:
    """Write a token, unless there is a file; who is killed meanwhile leaves none that is empty."""
    if not os.path.lexists(path):
        replace_content(path, f"{token}\n".encode("ascii"))
