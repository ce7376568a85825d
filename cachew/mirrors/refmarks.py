"""What shows, for next to nothing, that the refs of a repository are as they were left (blocking).

To read a thousand refs before each fetch costs more than to move the one that was pushed to. Those that are packed are
as they were as long as nobody has replaced their file; the others, each in a file of its own, are few and are read.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import ReferenceType, ref

from cachew.mirrors.ledger import Stamp, stamp_of
from cachew.mirrors.refs import Change, RefState
from cachew.mirrors.reftree import loose_refs


@dataclass(frozen=True)
class RefMarks:
    """What shows that refs have moved.

    :param head: what HEAD says.
    :param packed: what the file of the packed ones shows; None when there is none.
    :param loose: the others, name to object id.
    """

    head: bytes
    packed: Stamp | None
    loose: Mapping[bytes, bytes]

    def after(self, change: Change) -> "RefMarks | None":
        """Return what they are once a change has been made; None when that is more than refs that move."""
        if change.deletions or change.head:
            return None
        moved = {os.fsencode(name): oid.encode() for name, oid in change.updates.items()}
        return replace(self, loose={**self.loose, **moved})


def marks_of(directory: Path, prefixes: Sequence[str]) -> RefMarks | None:
    """Return the marks of the refs below some directories, None when only git can tell.

    :param prefixes: full names of refs, or of directories with a slash at the end.
    :raise CorruptObject: when a file is no ref.
    """
    head = (directory / "HEAD").read_bytes()
    # What is packed meanwhile is missing here or shows there.
    loose = loose_refs(directory, prefixes)
    return None if loose is None else RefMarks(head, stamp_of(directory / "packed-refs"), loose)


class LeftRefs:
    """Remembers the refs that this server has left in a repository, as long as somebody else does."""

    def __init__(self) -> None:
        self._marks: RefMarks | None = None
        self._state: ReferenceType[RefState] | None = None

    def are(self, state: RefState, marks: RefMarks) -> bool:
        """Whether the refs are a state's, by their marks."""
        return self._state is not None and self._state() is state and self._marks == marks

    def note(self, state: RefState, marks: RefMarks | None) -> None:
        """Take note of the state that refs have which have such marks, None for what is not certain."""
        self._marks, self._state = marks, None if marks is None else ref(state)
