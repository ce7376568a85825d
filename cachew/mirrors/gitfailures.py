"""What it means that git has failed: whose failure it is, and whether it is worth trying otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

from cachew.mirrors.commands import FSCK_SAYS_OF_REFS
from cachew.plumbing.child import Command
from cachew.plumbing.errors import (
    FetchFailed,
    FetchTimedOut,
    ProcessFailed,
    ProcessTimedOut,
    StorageFull,
)
from cachew.plumbing.process import Processes

NOT_STARTED = 127
"""The exit status of what could not be started."""
NOT_HERE = "not our ref"
"""What an upstream says of an object that it doesn't have, or doesn't give."""
_NO_USE = (
    "unable to access", "Authentication failed", "could not read Username", "could not read Password",
    "No space left on device", "Disk quota exceeded", "Out of memory", "Cannot allocate memory",
)  # fmt: skip
_OF_THE_DISK = ("No space left on device", "Disk quota exceeded")
_BROKEN_OFF = ("RPC failed", "curl ")
_REMOTE_SAID = "remote: "
_MET = ("shallow.lock", "shallow file has changed")


async def run_check(processes: Processes, command: Command, seconds: float) -> None:
    """Run one command of a check.

    :raise ProcessFailed: when it finds damage; what fsck dislikes about names of refs alone is none.
    """
    try:
        await processes.run(command, timeout=seconds)
    except ProcessFailed as error:
        if error.code != FSCK_SAYS_OF_REFS or "fsck" not in command.argv:
            raise


@contextmanager
def told_of_upstream(url: str) -> Iterator[None]:
    """Tell failures of git to fetch from an upstream as that upstream's, but for those of this machine's disk.

    :param url: the upstream's.
    :raise FetchFailed: instead of :class:`ProcessFailed`.
    """
    try:
        yield
    except ProcessFailed as failure:
        if any(words in failure.stderr for words in _OF_THE_DISK):
            raise StorageFull("there is no room for what was to be fetched") from failure
        kind = FetchTimedOut if isinstance(failure, ProcessTimedOut) else FetchFailed
        raise kind(url, failure) from failure


def worth_another_way(failure: ProcessFailed) -> bool:
    """Say whether a fetch that failed may succeed when it asks for something else: not where nobody answers."""
    return not isinstance(failure, ProcessTimedOut) and not any(words in failure.stderr for words in _NO_USE)


def about_what_was_asked(failure: ProcessFailed) -> bool:
    """Say whether a fetch failed because of something that it asked for, so that the rest may come without it.

    Not where the connection broke: then the upstream has said nothing before.
    """
    broken_off = any(words in failure.stderr for words in _BROKEN_OFF) and _REMOTE_SAID not in failure.stderr
    return worth_another_way(failure) and not broken_off


def says_not_here(failure: ProcessFailed) -> bool:
    """Say whether an upstream has said that it doesn't have what was asked for."""
    return NOT_HERE in failure.stderr


def met_another(failure: ProcessFailed) -> bool:
    """Say whether a fetch failed only because another one was writing down which commits are cut off."""
    return any(words in failure.stderr for words in _MET)
