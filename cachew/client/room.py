"""Whether what is about to be written fits on the disk.

A few hundred kilobytes of an archive can announce gigabytes of zeros. The sizes that it announces are added up against
what was free when it began, less a reserve that other programs on the machine need, before anything of them is written;
and what is really free is looked at again on the way, since others write too.
"""

import os
from collections.abc import Callable

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.filesums import FileSum
from cachew.client.tarheader import EntryKind, TarEntry
from cachew.client.tarscan import Rules

_BLOCK = 4096
_LARGEST_RESERVE = 256 * 1024 * 1024
_RESERVED_PART = 50
_LOOK_AFTER = 64 * 1024 * 1024


class Room:
    """The room in one file system.

    :param directory: a directory there.
    :param state: gives what ``statvfs`` does.
    """

    def __init__(
        self,
        directory: os.PathLike[str] | str,
        *,
        state: Callable[[os.PathLike[str] | str], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._directory, self._state = directory, state
        found = state(directory)
        total = found.f_blocks * found.f_frsize
        # Some network file systems don't say.
        self._known = total > 0
        self._reserve = min(_LARGEST_RESERVE, total // _RESERVED_PART)
        self._free = found.f_bavail * found.f_frsize
        self._announced = self._looked_at = 0

    def require(self, size: int) -> None:
        """Check that so many bytes fit as things are.

        :raise ExtractionFailed: when they don't.
        """
        if self._known and size > self._free - self._reserve:
            raise self._too_little(size, self._free)

    def announce(self, size: int) -> None:
        """Take note of a file that is about to be written.

        :raise ExtractionFailed: when it does not fit beside those before it.
        """
        if not self._known:
            return
        self._announced += -(-size // _BLOCK) * _BLOCK
        self.require(self._announced)
        if self._announced - self._looked_at >= _LOOK_AFTER or size >= _LOOK_AFTER:
            self._looked_at = self._announced
            found = self._state(self._directory)
            free = found.f_bavail * found.f_frsize
            if size > free - self._reserve:
                raise self._too_little(size, free)

    def _too_little(self, size: int, free: int) -> ExtractionFailed:
        return ExtractionFailed(
            f"it needs {size} bytes, and of the {free} that are free on the disk {self._reserve} stay free",
            "Free some space, or choose a directory on another disk.",
        )


class FittingRules:
    """Rules that also refuse what does not fit.

    :param rules: say what may be extracted.
    :param room: where it is extracted to.
    """

    def __init__(self, rules: Rules, room: Room) -> None:
        self._rules, self._room = rules, room

    def judge(self, entry: TarEntry) -> TarEntry | None:
        """Judge as the rules do.

        :raise ExtractionFailed: when what is let through does not fit.
        """
        kept = self._rules.judge(entry)
        if kept is not None and kept.kind is EntryKind.FILE:
            self._room.announce(kept.size)
        return kept

    def wants_content(self, path: bytes) -> bool:
        """As the rules say."""
        return self._rules.wants_content(path)

    def stands_alone(self, path: bytes) -> bool:
        """As the rules say."""
        return self._rules.stands_alone(path)

    def sum_of(self, path: bytes) -> FileSum | None:
        """As the rules say."""
        return self._rules.sum_of(path)
