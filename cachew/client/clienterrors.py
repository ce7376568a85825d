"""What can go wrong for the client, with a piece of advice for each failure.

The command line prints ``str(error)`` and then the advice, so both are written for the person at the terminal.
"""

import re

from cachew.plumbing.errors import CachewError


class ClientError(CachewError):
    """A failure that ends what the client was doing.

    :param message: what failed.
    :param advice: what the user can do about it, empty when there is nothing to add.
    :ivar retry_after: seconds for which a server asks to be left alone, None when none did.
    """

    retry_after: "float | None" = None

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class BadUsage(ClientError):
    """The user asked for something that makes no sense."""


class ServerUnreachable(ClientError):
    """No connection to the server, or one that broke."""


class ServerRefused(ClientError):
    """The server answered with an error status.

    :param status: the HTTP status.
    :param retry_after: seconds for which it asks to be left alone, None when it doesn't.
    """

    def __init__(self, message: str, *, status: int, advice: str = "", retry_after: "float | None" = None) -> None:
        super().__init__(message, advice)
        self.status = status
        self.retry_after = retry_after


class NotCached(ServerRefused):
    """The server answered 404."""


class ObjectChanged(ClientError):
    """The object was replaced on the server, or broke off, while it was being downloaded."""


class DownloadCorrupt(ClientError):
    """What arrived has not the announced length or digest."""


class ArchiveBroken(ClientError):
    """The archive is not a complete zstd-compressed tar."""


class ArchiveRefused(ClientError):
    """The archive holds something that could do harm.

    :param reason: which entry, and what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the archive was refused: {reason}",
            "Nothing was kept. An honest server makes no such archive: tell its operator, and clone with git.",
        )
        self.reason = reason


class FileDamaged(ArchiveBroken):
    """A file of the archive is not what git's own checksum in it says: it was damaged before it was archived.

    :param path: which, fit to be shown.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not what its checksum says")
        self.path = path


class ExtractionFailed(ClientError):
    """The files could not be written."""


class GitFailed(ClientError):
    """A git command failed.

    :param command: git's sub-command.
    :param stderr: what it said.
    """

    def __init__(self, command: str, stderr: str) -> None:
        said = [line for line in stderr.strip().split("\n") if line.strip()][-3:]
        super().__init__(f"git {command} failed: {' / '.join(said) or 'without a word'}")
        self.command = command
        self.stderr = stderr


_FULL = ("No space left on device", "Disk quota exceeded")
_LONGEST = 500
"""Characters of what tar says that are repeated: it names files in full, whose names may be of a megabyte."""
_CUT = re.compile(r"Wrote only [0-9]+ of [0-9]+ bytes")
"""What tar says of the file in which it has met a full disk."""


def full_disk(said: str) -> str:
    """Return the system's words for a full disk that are part of what was said, otherwise nothing."""
    return next((reason for reason in _FULL if reason in said), "")


def no_space_advice(said: str) -> str:
    """Return advice when a system's words say that the disk is full, otherwise nothing."""
    return "Free some space and run the command again." if full_disk(said) else ""


def tar_failed(code: int | None, said: str) -> ExtractionFailed:
    """Return what tar's failure is told as: one line, for tar complains of every file.

    :param code: its exit status, None while it still runs.
    :param said: what it wrote to its standard error.
    """
    if reason := full_disk(said) or (_FULL[0] if _CUT.search(said) else ""):
        return ExtractionFailed(f"the files do not fit: {reason}", no_space_advice(reason))
    first, *others = [line for line in said.split("\n") if line.strip()] or ["without a word"]
    more = f" (and {len(others)} lines more)" if others else ""
    return ExtractionFailed(f"tar failed (exit {code}): {first[:_LONGEST]}{more}")
