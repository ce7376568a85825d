"""In which form a state directory is written, so that no older server misreads what a newer one has left.

The mark is checked by its digest: one that is damaged says nothing, and is written anew. A state directory without one
is older than marks, or empty.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from cachew.plumbing.diskspace import put_in_place
from cachew.plumbing.errors import CachewError

FORMAT = 1
"""The form in which this version writes. It grows with each change that an earlier version would misread."""
MARK = "format"
"""The name of the file that says it."""
_LINE = re.compile(r"(cachew state, format (\d{1,9}), written by ([\w.+-]{1,100})) ([0-9a-f]{16})\n")
_LONGEST = 1000
_log = Logger()


class StateTooNew(CachewError):
    """A later version has written the state directory."""


@dataclass(frozen=True)
class StateFormat:
    """What a state directory says of itself.

    :param number: of the form.
    :param version: the cachew that wrote it.
    """

    number: int
    version: str

    def text(self) -> str:
        """Return the mark's content."""
        line = f"cachew state, format {self.number}, written by {self.version}"
        return f"{line} {_digest(line)}\n"


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]


def read_format(state: Path) -> StateFormat | None:
    """Return what a state directory says, None when it says nothing that could be believed."""
    try:
        with (state / MARK).open(encoding="ascii") as file:
            found = _LINE.fullmatch(file.read(_LONGEST))
    except (OSError, UnicodeDecodeError):
        return None
    return StateFormat(int(found[2]), found[3]) if found and _digest(found[1]) == found[4] else None


def check_format(state: Path) -> None:
    """Refuse a state directory of a later form.

    :raise StateTooNew: then.
    """
    found = read_format(state)
    if found is not None and found.number > FORMAT:
        raise StateTooNew(
            f"the state directory {state} was written by cachew {found.version} in a form ({found.number}) that this "
            f"version does not know ({FORMAT}): start that version again, or move the directory away and begin with an "
            f"empty one; all that is in it but the admin token can be made anew"
        )


def mark_format(state: Path, version: str) -> None:
    """Write down that this version writes here now; what can't be written is told, and is no reason to stop.

    :param version: cachew's.
    """
    own = StateFormat(FORMAT, version)
    if read_format(state) == own:
        return
    try:
        if (state / MARK).is_dir():
            (state / MARK).rmdir()  # what somebody keeps in it is not ours
        put_in_place(state / MARK, own.text().encode("ascii"))
    except OSError as error:
        _log.warn("can't write the mark of the state directory: {error}", error=str(error))
